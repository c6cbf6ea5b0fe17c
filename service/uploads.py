"""Bodies of requests to files on disk, hashed on the way."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import EmptyInput, RequestError, TooLarge
from service.submission import InputFile

_FIELD_LIMIT_BYTES: Final = 1024
_MOST_FIELDS: Final = 16
_NAME_LIMIT: Final = 150
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._+-]+")


class Body(Protocol):
    """A request body on its way to disk; ``fields`` holds the form fields that are not files."""

    fields: dict[str, str]

    def write(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        ...

    def finish(self) -> list[InputFile]:
        """The files, once the body is complete."""
        ...

    def close(self) -> None:
        """Let go of open files; what was written stays where it is."""
        ...


class UploadedFile:
    """A file that is being received into ``folder``; it ends up in ``folder/<sha256>/<name>``."""

    def __init__(self, folder: Path, name: str, number: int) -> None:
        self._folder = folder
        self._name = safe_name(name)
        self._path = folder / f"receiving-{number}"
        self._file: BinaryIO = self._path.open("wb")
        self._hash = hashlib.sha256()
        self._size_bytes = 0

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)
        self._hash.update(data)
        self._size_bytes += len(data)

    def finish(self) -> InputFile:
        """Flush to the disk and give the file its place. Raises ``EmptyInput``."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self._size_bytes == 0:
            raise EmptyInput("a file without a single byte", where=self._name)
        digest = self._hash.hexdigest()
        place = self._folder / digest
        place.mkdir(exist_ok=True)
        self._path.replace(place / self._name)
        return InputFile(name=self._name, sha256=digest, size_bytes=self._size_bytes)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class RawBody:
    """The whole body is one file."""

    def __init__(self, folder: Path) -> None:
        self.fields: dict[str, str] = {}
        self._file = UploadedFile(folder, "body", 0)

    def write(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        self._file.write(data)

    def finish(self) -> list[InputFile]:
        """The file. Raises ``EmptyInput``."""
        return [self._file.finish()]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class MultipartBody:
    """``multipart/form-data``: every part with a file name is a file, the others are form fields."""

    def __init__(self, folder: Path, content_type: str, max_files: int) -> None:
        self.fields: dict[str, str] = {}
        self._folder = folder
        self._max_files = max_files
        self._files: list[InputFile] = []
        self._file: UploadedFile | None = None
        self._field: tuple[str, bytearray] | None = None
        self._header = (bytearray(), bytearray())
        self._headers: dict[str, bytes] = {}
        self._complete = False
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise RequestError("multipart/form-data without a boundary", where="Content-Type")
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._open_part,
                    "on_part_data": self._take,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _malformed(error) from error

    def write(self, data: bytes) -> None:
        """Take the next bytes of the body. Raises ``RequestError``, ``TooLarge`` or ``EmptyInput``."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _malformed(error) from error

    def finish(self) -> list[InputFile]:
        """The files. Raises ``RequestError`` when the last boundary did not come."""
        if not self._complete:
            raise RequestError(
                "the body ends before its last boundary",
                expected="a complete multipart/form-data body",
                got=f"{len(self._files)} complete parts",
                advice="send it again",
            )
        return self._files

    def close(self) -> None:
        """Let go of the file that is being received, if any."""
        if self._file is not None:
            self._file.close()

    def _begin_part(self) -> None:
        self._headers = {}

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[name.decode("latin-1").lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _open_part(self) -> None:
        disposition = parse_options_header(self._headers.get("content-disposition", b""))[1]
        name = disposition.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in disposition:
            if len(self.fields) >= _MOST_FIELDS:
                raise TooLarge("too many form fields", expected=f"at most {_MOST_FIELDS}")
            self._field = (name, bytearray())
            return
        if len(self._files) >= self._max_files:
            raise TooLarge("too many files in one submission", expected=f"at most {self._max_files}")
        filename = disposition[b"filename"].decode("utf-8", "replace")
        self._file = UploadedFile(self._folder, filename, len(self._files))

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
        elif self._field is not None:
            self._field[1].extend(data[start:end])
            if len(self._field[1]) > _FIELD_LIMIT_BYTES:
                raise TooLarge(
                    "a form field is too long",
                    where=self._field[0],
                    expected=f"at most {_FIELD_LIMIT_BYTES} bytes",
                    advice="send files as parts with a file name",
                )

    def _end_part(self) -> None:
        if self._file is not None:
            self._files.append(self._file.finish())
            self._file = None
        elif self._field is not None:
            name, value = self._field
            self.fields[name] = value.decode("utf-8", "replace")
            self._field = None

    def _end(self) -> None:
        self._complete = True


def open_body(folder: Path, content_type: str, max_files: int) -> Body:
    """The kind of body that the media type announces; whatever is not multipart is one file."""
    if content_type.partition(";")[0].strip().lower() == "multipart/form-data":
        return MultipartBody(folder, content_type, max_files)
    return RawBody(folder)


def safe_name(name: str) -> str:
    """A file name without folders, control characters and leading dots."""
    plain = _UNSAFE.sub("_", name.replace("\\", "/").rpartition("/")[2]).lstrip(".")
    return plain[-_NAME_LIMIT:] or "file"


def _malformed(error: Exception) -> RequestError:
    return RequestError("the multipart/form-data body is malformed", got=str(error))
