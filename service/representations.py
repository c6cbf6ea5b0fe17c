"""One representation of a resource over HTTP: entity tag, conditions, ranges, gzip and how long it is kept.

Source: RFC 9110 (8.8.3 entity tags, 12.5.3 codings, 13.1 conditions, 14 ranges) and RFC 9111. A gzipped
answer has other bytes and so another strong tag; a client may show either to be told that nothing has
changed. A range is one of the bytes as they are: an answer that is compressed is sent whole.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from fastapi import HTTPException, Request, Response

from service.errors import RequestError
from service.negotiation import accepts_gzip, matches

REVALIDATE: Final = "no-cache"
"""What the address holds may change: kept, and asked after each time."""

FOR_A_DAY: Final = "public, max-age=86400"
"""Made by this service of a revision, which stays as it is; the making may get better."""

FOR_EVER: Final = "public, max-age=31536000, immutable"
"""The address says which bytes."""

_GZIP_SUFFIX: Final = "-gzip"
_RANGE: Final = re.compile(
    r"bytes=\s*(\d{1,18}-\d{0,18}|-\d{1,18})(\s*,\s*(\d{1,18}-\d{0,18}|-\d{1,18}))*\s*"
)


@dataclass(frozen=True)
class Body:
    """Bytes, and the same by gzip once somebody wants them so."""

    content: bytes

    @cached_property
    def compressed(self) -> bytes:
        """At the level beyond which rain gets no smaller."""
        return gzip.compress(self.content, 6, mtime=0)


@dataclass(frozen=True)
class Representation:
    """What is known of an answer before it is made.

    etag: quoted, of the bytes as they are. vary: the request headers that chose it, besides Accept-Encoding.
    compressible: whether gzip is worth it; what is compressed already is not.
    """

    etag: str
    media_type: str
    caching: str = REVALIDATE
    vary: str = ""
    compressible: bool = True
    headers: Mapping[str, str] | None = None

    def answer(self, request: Request, make: Callable[[], Body]) -> Response:
        """The whole, a part of it, or that the client has it already; ``make`` is called where needed.

        Raises RequestError for what is no range and HTTPException 416 for one that lies beyond the end.
        """
        coding = self.compressible and accepts_gzip(request.headers.get("accept-encoding"))
        headers = self._headers(_gzip_tag(self.etag) if coding else self.etag)
        if has_already(request, self.etag):
            return Response(status_code=304, headers=headers)
        body = make()
        if coding:
            headers |= {"Content-Encoding": "gzip"}
            return Response(body.compressed, headers=headers, media_type=self.media_type)
        headers |= {"Accept-Ranges": "bytes"}
        part = _asked_part(request, self.etag, len(body.content))
        if part is None:
            return Response(body.content, headers=headers, media_type=self.media_type)
        headers |= {"Content-Range": f"bytes {part.start}-{part.stop - 1}/{len(body.content)}"}
        return Response(body.content[part], 206, headers=headers, media_type=self.media_type)

    def _headers(self, etag: str) -> dict[str, str]:
        vary = [self.vary] if self.vary else []
        vary += ["Accept-Encoding"] if self.compressible else []
        known = {"ETag": etag, "Cache-Control": self.caching} | ({"Vary": ", ".join(vary)} if vary else {})
        return known | dict(self.headers or {})


def has_already(request: Request, etag: str) -> bool:
    """Whether the client says that it holds this entity, gzipped or not."""
    known = request.headers.get("if-none-match")
    return matches(known, etag) or matches(known, _gzip_tag(etag))


def check_range(header: str | None, size_bytes: int) -> list[tuple[int, int]]:
    """First byte and the one after the last of each range that is asked for, none without the header.

    Raises RequestError for what is no range and HTTPException 416 where one lies outside.
    """
    if header is None or not header.startswith("bytes="):
        return []
    if not _RANGE.fullmatch(header):
        raise RequestError(
            "not a range of bytes", where="Range", expected="bytes=FIRST-LAST", got=header[:80]
        )
    ranges = []
    for first, last in re.findall(r"(\d*)-(\d*)", header):
        start = int(first) if first else max(0, size_bytes - int(last))
        stop = min(int(last) + 1, size_bytes) if first and last else size_bytes
        if start >= stop:
            raise HTTPException(416, "Range Not Satisfiable", {"Content-Range": f"bytes */{size_bytes}"})
        ranges.append((start, stop))
    return ranges


def _asked_part(request: Request, etag: str, size_bytes: int) -> slice | None:
    """Of several ranges none is taken: a server may answer with the whole (RFC 9110, 14.2)."""
    if request.headers.get("if-range", etag) != etag:
        return None
    ranges = check_range(request.headers.get("range"), size_bytes)
    return slice(*ranges[0]) if len(ranges) == 1 else None


def _gzip_tag(etag: str) -> str:
    return f'{etag[:-1]}{_GZIP_SUFFIX}"'
