"""Files that a submission refers to: from the allowed folders only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.artefact import digest_file
from service.errors import DigestMismatch, EmptyInput, ForbiddenInput, RequestError
from service.submission import InputFile
from service.uploads import safe_name


class Reference(BaseModel):
    """A file by its absolute path or ``file://`` URI. sha256, where given, is verified."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field(max_length=4096, examples=["file:///data/cycles/2026112200/h024.gb2"])
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None


class ReferenceSubmission(BaseModel):
    """A cycle by reference. reference_time, where given, must be that of the files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference_time: str | None = Field(default=None, examples=["2026-11-22T00:00Z"])
    inputs: tuple[Reference, ...]


def parse_references(body: bytes) -> ReferenceSubmission:
    """The JSON document of a submission by reference. Raises ``RequestError``."""
    try:
        return ReferenceSubmission.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise RequestError(
            "the JSON document is not a submission",
            where=", ".join(".".join(str(part) for part in fault["loc"]) or "body" for fault in faults),
            expected='{"reference_time": "2026-11-22T00:00Z", "inputs": [{"uri": "/path", "sha256": "..."}]}',
            got="; ".join(fault["msg"] for fault in faults),
        ) from error


def resolve_references(
    references: tuple[Reference, ...], folders: tuple[Path, ...], max_files: int
) -> list[InputFile]:
    """Find, check and hash the files; ``folders`` are resolved paths.

    Links are followed before the folder is checked. Raises ``ForbiddenInput`` for anything outside, whether
    it exists or not, ``RequestError``, ``EmptyInput`` and ``DigestMismatch``.
    """
    if len(references) > max_files:
        raise RequestError("too many files", expected=f"at most {max_files}", got=str(len(references)))
    return [_hash(reference, _resolve(reference.uri, folders)) for reference in references]


def _resolve(uri: str, folders: tuple[Path, ...]) -> Path:
    path = _path_of(uri)
    try:
        resolved = path.resolve()
        if not any(resolved.is_relative_to(folder) for folder in folders):
            raise _forbidden("the file is outside the allowed folders", uri, folders)
        if resolved.is_file() and os.access(resolved, os.R_OK):
            return resolved
    except (OSError, ValueError, RuntimeError) as error:
        # Too long a name, a null byte, a ring of links.
        raise RequestError("not a usable path", where=uri, got=type(error).__name__) from error
    raise RequestError("no such file", where=uri, expected="a regular file that the service can read")


def _path_of(uri: str) -> Path:
    if uri.startswith("/"):
        return Path(uri)
    try:
        parts = urlsplit(uri)
    except ValueError:
        # Brackets that are no address, for instance.
        raise _forbidden("only local files can be referred to", uri, ()) from None
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise _forbidden("only local files can be referred to", uri, ())
    return Path(unquote(parts.path))


def hash_file(path: Path, where: str = "") -> InputFile:
    """A file that stays where it is, hashed. where: what the sender calls it, its path by default.

    Raises ``EmptyInput`` and, for a file that is being written to, ``DigestMismatch``.
    """
    before = path.stat()
    if before.st_size == 0:
        raise EmptyInput("a file without a single byte", where=where or str(path))
    digest = digest_file(path)
    after = path.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DigestMismatch(
            "the file changed while it was read",
            where=where or str(path),
            advice="submit it again when nobody writes to it any more",
        )
    return InputFile(
        name=safe_name(path.name),
        sha256=digest,
        size_bytes=after.st_size,
        path=path,
        modified_ns=after.st_mtime_ns,
    )


def _hash(reference: Reference, path: Path) -> InputFile:
    file = hash_file(path, reference.uri)
    if reference.sha256 is not None and reference.sha256.lower() != file.sha256:
        raise DigestMismatch(
            "the file is not the one that was announced",
            where=reference.uri,
            expected=f"sha256 {reference.sha256.lower()}",
            got=f"sha256 {file.sha256}",
        )
    return file


def _forbidden(what: str, uri: str, folders: tuple[Path, ...]) -> ForbiddenInput:
    return ForbiddenInput(
        what,
        where=uri,
        expected="an absolute path or file:// URI inside the folders of RAINPOST_INPUT_FOLDERS",
        got="no folder is allowed" if not folders and uri.startswith(("/", "file:")) else "",
        advice="upload the file, or ask the operator to allow its folder",
    )
