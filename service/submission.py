"""What a user hands in: files, and the cycle they are said to belong to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from service.errors import DigestMismatch, EmptyInput
from service.store import InputIdentity


class InputFile(BaseModel):
    """One file of a submission.

    path: where a file that was referred to lies; None for an upload, which lies in the job's own folder.
    modified_ns: time of its last change when it was hashed, ns since 1970; None for an upload.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    size_bytes: int
    path: Path | None = None
    modified_ns: int | None = None

    @property
    def identity(self) -> InputIdentity:
        """Name, digest and size."""
        return InputIdentity(name=self.name, sha256=self.sha256, size_bytes=self.size_bytes)

    def locate(self, uploads: Path) -> Path:
        """Where the file lies, given the folder of the job's uploads.

        Raises ``DigestMismatch`` when a file that was referred to is no longer the one that was hashed.
        """
        if self.path is None:
            # The digest is the address; the name is the sender's, and another sender's may have come first.
            return next((uploads / self.sha256).iterdir())
        try:
            status = self.path.stat()
        except OSError as error:
            raise self._changed(error.strerror or str(error)) from error
        if (status.st_size, status.st_mtime_ns) != (self.size_bytes, self.modified_ns):
            raise self._changed(f"{status.st_size} bytes, changed at {status.st_mtime_ns} ns")
        return self.path

    def is_unchanged(self) -> bool:
        """Whether a file that was referred to is still the one that was hashed."""
        try:
            self.locate(Path())
        except DigestMismatch:
            return False
        return True

    def _changed(self, got: str) -> DigestMismatch:
        return DigestMismatch(
            "a file changed after it was submitted",
            where=self.name,
            expected=f"{self.size_bytes} bytes, changed at {self.modified_ns} ns, sha256 {self.sha256}",
            got=got,
            advice="submit the files again when nobody writes to them any more",
        )


class Submission(BaseModel):
    """Files in the order of their digests, each once.

    reference_time: ISO 8601, UTC; what the user says the cycle is, None where the files alone tell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference_time: str | None
    inputs: tuple[InputFile, ...]

    @classmethod
    def of(cls, inputs: list[InputFile], reference_time: str | None) -> Self:
        """The order of sending and files sent twice make no difference. Raises ``EmptyInput``."""
        if not inputs:
            raise EmptyInput(
                "no file was submitted",
                expected="the bytes of a file, a multipart/form-data set, or JSON with inputs",
            )
        unique = {one.sha256: one for one in reversed(inputs)}
        return cls(reference_time=reference_time, inputs=tuple(unique[digest] for digest in sorted(unique)))

    def key(self, manifest_sha256: str) -> str:
        """Identity of the job: declared reference time, model folder and file contents."""
        return computation_key(self.reference_time, manifest_sha256, self.inputs)


def computation_key(reference_time: str | None, manifest_sha256: str, inputs: tuple[InputFile, ...]) -> str:
    """sha256, in hexadecimal, over reference time, model and the ordered digests of the inputs."""
    identity = [reference_time, manifest_sha256, [one.sha256 for one in inputs]]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()
