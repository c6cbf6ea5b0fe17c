"""A faster kernel for the CPU, built on the spot, loaded only when it is the very one that was asked for.

``python -m training.accelerate`` makes the folder: the model's graph with ``rainpost::DCNv3`` in the place of
each ``DeformConv``, the library with that operator, and ``accelerator.json`` with the digests of both and of
the graph that it stands for.

A manifest cannot list a library that is compiled on the user's machine, and is never rewritten. So whoever
runs the service states the digest of ``accelerator.json`` beside its folder, in the settings: it has the
trust that the settings have, which also say where the models are. What is loaded are the bytes that were
hashed, from a private copy, and the model's own golden case decides whether the result is used.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import ArtefactError

DESCRIPTION: Final = "accelerator.json"
GRAPH: Final = "accelerated.onnx"
LIBRARY: Final = "dcnv3.so"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Description(BaseModel):
    """``accelerator.json``.

    model: name and version that it was made for. model_sha256: of its ``model.onnx``.
    source_sha256: of the operator's source. compiler: that built it, with its options.
    onnxruntime: the version that the golden case was replayed with.
    files: sha256 of graph and library, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    accelerator_version: Literal[1] = 1
    model: str
    model_sha256: Sha256
    source_sha256: Sha256
    compiler: str
    onnxruntime: str
    files: dict[str, Sha256]


@dataclass(frozen=True)
class Accelerator:
    """A folder whose description has the digest that was asked for.

    Raises ``ArtefactError`` when it cannot be read or is another one.
    """

    folder: Path
    description: Description

    @classmethod
    def load(cls, folder: Path, sha256: str) -> Accelerator:
        """The description; the files are checked when a model opens them."""
        path = folder / DESCRIPTION
        text = _read(path)
        _check(path, text, sha256)
        try:
            return cls(folder, Description.model_validate_json(text))
        except ValidationError as error:
            raise _refused(path, "it is no accelerator's", str(error.errors()[0]["msg"])) from error

    @classmethod
    def chosen(cls, folder: Path | None, sha256: str | None) -> Accelerator | None:
        """As the settings have it; None where they name none. Raises ``ArtefactError``."""
        return None if folder is None or sha256 is None else cls.load(folder, sha256)

    def fits(self, model_sha256: str) -> bool:
        """Whether it stands for the graph of this digest."""
        return self.description.model_sha256 == model_sha256

    def register(self, options: Any) -> bytes:
        """Gives the operator to the options of a session, and returns the graph that needs it.

        Raises ``ArtefactError`` when a file is missing or changed, or the library does not load.
        """
        library, graph = (_read(self.folder / name) for name in (LIBRARY, GRAPH))
        for name, content in ((LIBRARY, library), (GRAPH, graph)):
            _check(self.folder / name, content, self.description.files.get(name, "none"))
        # A copy that nobody else can change between the check and the load; once loaded it needs no file.
        with tempfile.TemporaryDirectory(prefix="rainpost-") as private:
            copy = Path(private) / LIBRARY
            copy.write_bytes(library)
            try:
                options.register_custom_ops_library(str(copy))
            except Exception as error:
                # ONNX Runtime's exception classes share no base but this one.
                raise _refused(self.folder / LIBRARY, "the library does not load", str(error)) from error
        return graph


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _refused(path, "it cannot be read", error.strerror or str(error)) from error


def _check(path: Path, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise _refused(path, "it is not the file that was asked for", f"sha256 {found}", f"sha256 {expected}")


def _refused(path: Path, what: str, got: str, expected: str = "") -> ArtefactError:
    return ArtefactError(
        f"accelerator: {what}",
        where=str(path),
        expected=expected,
        got=got,
        advice="make it again with python -m training.accelerate, or run without RAINPOST_ACCELERATOR",
    )
