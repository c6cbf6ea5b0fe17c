"""Inference of single leads before the whole cycle is asked for, and what the whole takes over of it."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.early_results import EarlyResults, early_key
from service.errors import InferenceError
from service.inference import Inference
from service.versions import rainpost_version


class EarlyInference:
    """Probabilities of leads, kept by model, provider and the very values that they were made of."""

    def __init__(self, inference: Inference, results: EarlyResults) -> None:
        self._inference = inference
        self._results = results
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="early-inference")

    def begin(self, key: str) -> None:
        """Infer the lead that is kept under the key, in a thread; what goes wrong comes again in the end."""
        self._thread.submit(self._begin, key)

    def infer(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """As ``Inference.infer`` of (lead, channel, y, x), after what has begun. Once only.

        Raises ``InferenceError``.
        """
        self._thread.shutdown()
        return np.concatenate([self.lead(one)[None] for one in values])

    def drop(self) -> None:
        """Begin nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def lead(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (class, y, x) of one lead (channel, y, x). Raises ``InferenceError``."""
        key = self.key(values)
        probabilities = self._results.get(key)
        if probabilities is None:
            (probabilities,) = self._inference.infer(values[None])
            self._results.put(key, probabilities)
        return probabilities

    def key(self, values: NDArray[np.float32]) -> str:
        """Of the probabilities of one lead (channel, y, x)."""
        return early_key(
            rainpost_version(),
            onnxruntime.__version__,
            self._inference.artefact.sha256,
            self._inference.runtime_provider,
            hashlib.sha256(values.tobytes()).hexdigest(),
        )

    def _begin(self, key: str) -> None:
        values = self._results.get(key)
        if values is not None:
            with suppress(InferenceError):
                self.lead(values)
