"""Arrays that are reached before they are asked for, kept by the digest of all that they come from.

::

    work/early/20261122T000000Z/<key>      of a cycle whose files are still arriving
    work/jobs/<job>/early/<key>            of a job at work

A file begins with the SHA-256 of what follows, an array in numpy's own form. One that was cut short, or that
lost its content with the power, is as one that is not there: it only costs the work again.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import threading
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.durability import TEMPORARY_SUFFIX

_logger = logging.getLogger(__name__)


class EarlyResults:
    """Folders of such arrays: looked for in all of them, kept in the first. Any process may use them."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders

    def get(self, key: str) -> NDArray[np.float32] | None:
        """The array of a key, None where there is none or not the one that was kept."""
        for folder in self._folders:
            try:
                content = (folder / key).read_bytes()
            except OSError:
                continue
            digest, array = content[: hashlib.sha256().digest_size], content[hashlib.sha256().digest_size :]
            if hashlib.sha256(array).digest() == digest:
                values: NDArray[np.float32] = np.load(io.BytesIO(array), allow_pickle=False)
                return values
            _logger.warning("%s is damaged and is made again", folder / key)
        return None

    def put(self, key: str, values: NDArray[np.float32]) -> None:
        """Keep an array, if there is room: what comes too early may as well not be kept."""
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        array = buffer.getvalue()
        folder = self._folders[0]
        temporary = folder / f"{key}.{os.getpid()}-{threading.get_ident()}{TEMPORARY_SUFFIX}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(hashlib.sha256(array).digest() + array)
            temporary.replace(folder / key)
        except OSError as error:
            _logger.warning("an early result is not kept: %s", error)
            with suppress(OSError):
                temporary.unlink()

    def keep_only(self, keys: Container[str]) -> None:
        """Remove what has another key from the first folder."""
        for path in self._folders[0].glob("*"):
            if path.name not in keys:
                path.unlink(missing_ok=True)


def early_key(*parts: object) -> str:
    """sha256, in hexadecimal, over whatever JSON can carry."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
