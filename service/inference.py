"""The network in ONNX Runtime: provider asserted, deterministic, proven on the golden case."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.artefact import Artefact, normalise
from service.errors import ArtefactError, InferenceError
from service.settings import Provider

SUM_TOLERANCE: Final = 1e-4
"""A cell whose probabilities miss one by more than this did not come out of a softmax."""

PROVIDERS: Final[dict[Provider, list[Any]]] = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": [
        # TF32 would move probabilities by more than the golden tolerance; the heuristic algorithm search
        # picks the same kernels at every start, the exhaustive one does not.
        ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}),
        "CPUExecutionProvider",
    ],
}


class Inference:
    """One loaded model. ``infer`` may be called from several threads.

    Raises ``ArtefactError`` when the graph does not load, does not have the manifest's signature, does not
    run on the provider that was asked for, or does not reproduce its golden case.
    """

    def __init__(self, artefact: Artefact, provider: Provider = "cpu", threads: int = 0) -> None:
        self.artefact = artefact
        self.provider: Provider = provider
        self._session = _open_session(artefact, provider, threads)
        self._check_signature()
        self.golden_difference = artefact.replay(self.infer)

    @property
    def runtime_provider(self) -> str:
        """ONNX Runtime's name of where the next inference runs: it may leave a provider that fails."""
        return str(self._session.get_providers()[0])

    def infer(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (lead, class, y, x) float32 of values (lead, channel, y, x) in physical units.

        The leads go through the network one by one: they are independent, the CUDA kernel of
        ``DeformConv`` loops over groups for larger batches, and memory stays that of one lead.
        Probabilities are scaled to sum to one in float64, which moves them by rounding only.

        Raises ``InferenceError`` when the runtime fails or its output is no probability.
        """
        manifest = self.artefact.manifest
        expected = (len(manifest.cycle.channels), manifest.cycle.window.ny, manifest.cycle.window.nx)
        if values.ndim != 4 or values.shape[1:] != expected:
            raise InferenceError(
                "the input does not have the shape of the model",
                expected=f"(lead, {', '.join(map(str, expected))})",
                got=str(values.shape),
            )
        shape = (len(values), len(manifest.classes), *expected[1:])
        probabilities = np.empty(shape, np.float32)
        for index, lead in enumerate(values):
            probabilities[index] = self._infer_lead(normalise(lead, manifest), index)
        return probabilities

    def _infer_lead(self, scores: NDArray[np.float32], index: int) -> NDArray[np.float64]:
        network = self.artefact.manifest.network
        try:
            outputs = self._session.run([network.output_name], {network.input_name: scores[None]})
        except Exception as error:
            # ONNX Runtime's exception classes share no base but this one.
            raise InferenceError(
                "the runtime failed", where=f"lead number {index}, {self.artefact.identity}", got=str(error)
            ) from error
        raw: NDArray[np.float64] = np.asarray(outputs[0][0], np.float64)
        totals = raw.sum(axis=0)
        # Written so that NaN fails.
        if not ((raw >= 0).all() and np.abs(totals - 1).max() <= SUM_TOLERANCE):
            raise InferenceError(
                "the network's output is no probability",
                where=f"lead number {index}, {self.artefact.identity}",
                expected=f"finite, not negative, summing to one within {SUM_TOLERANCE:g}",
                got=f"minimum {raw.min():g}, sums from {totals.min():g} to {totals.max():g}",
            )
        probabilities: NDArray[np.float64] = raw / totals
        return probabilities

    def _check_signature(self) -> None:
        manifest = self.artefact.manifest
        window = manifest.cycle.window
        inputs = {node.name: node.shape[1:] for node in self._session.get_inputs()}
        outputs = {node.name: node.shape[1:] for node in self._session.get_outputs()}
        wanted_input = [len(manifest.cycle.channels), window.ny, window.nx]
        wanted_output = [len(manifest.classes), window.ny, window.nx]
        if not (
            set(inputs) == {manifest.network.input_name}
            and manifest.network.output_name in outputs
            and _fits(inputs[manifest.network.input_name], wanted_input)
            and _fits(outputs[manifest.network.output_name], wanted_output)
        ):
            raise ArtefactError(
                "the graph does not have the signature of its manifest",
                where=str(self.artefact.graph),
                expected=f"{manifest.network.input_name} (batch, {wanted_input}) to "
                f"{manifest.network.output_name} (batch, {wanted_output})",
                got=f"{inputs} to {outputs}",
            )


def _fits(found: list[int | str | None], wanted: list[int]) -> bool:
    """A dimension given by name is free."""
    return len(found) == len(wanted) and all(
        not isinstance(one, int) or one == other for one, other in zip(found, wanted, strict=True)
    )


def _open_session(artefact: Artefact, provider: Provider, threads: int) -> Any:
    wanted = "CUDAExecutionProvider" if provider == "cuda" else "CPUExecutionProvider"
    advice = (
        "install onnxruntime-gpu[cuda,cudnn] in place of onnxruntime (never both), check the driver with "
        "nvidia-smi, or set RAINPOST_PROVIDER=cpu"
    )
    available = onnxruntime.get_available_providers()
    if wanted not in available:
        raise ArtefactError(
            "the installed ONNX Runtime does not have the provider",
            where="RAINPOST_PROVIDER",
            expected=wanted,
            got=", ".join(available),
            advice=advice,
        )
    if provider == "cuda" and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(artefact.graph, options, providers=PROVIDERS[provider])
    except Exception as error:
        # As above: no common base class.
        raise ArtefactError("the graph does not load", where=str(artefact.graph), got=str(error)) from error
    # The runtime falls back to the CPU without a word when CUDA does not start.
    if session.get_providers()[0] != wanted:
        raise ArtefactError(
            "the model does not run on the provider that was asked for",
            where="RAINPOST_PROVIDER",
            expected=wanted,
            got=", ".join(session.get_providers()),
            advice=advice,
        )
    return session
