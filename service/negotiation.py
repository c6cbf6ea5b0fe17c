"""What a client accepts and prefers: the Accept, Prefer and If-None-Match headers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from service.errors import NotAcceptable

_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)


def choose_media_type(accept: str | None, offered: Sequence[str]) -> str:
    """The offered media type that the Accept header likes best (RFC 9110, 12.5.1).

    Between equals the first offered wins; without a header all are equal. Raises ``NotAcceptable``.
    """
    ranges = _parse_accept(accept or "*/*")
    qualities = [_quality(media_type, ranges) for media_type in offered]
    best = max(qualities)
    if best <= 0:
        raise NotAcceptable(
            "there is no representation of this media type",
            where="Accept",
            expected=", ".join(offered),
            got=(accept or "")[:200],
        )
    return offered[qualities.index(best)]


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether the Accept-Encoding header allows gzip (RFC 9110, 12.5.3)."""
    codings = _parse_accept(accept_encoding or "")
    return codings.get("gzip", codings.get("*", 0.0)) > 0.0


def wait_seconds(prefer: Sequence[str], longest: int) -> int | None:
    """N of ``Prefer: wait=N`` (RFC 7240), at most ``longest``; None where it is not asked for."""
    match = _WAIT.search(",".join(prefer))
    return None if match is None else min(int(match[1]), longest)


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has this entity already (RFC 9110, 13.1.2: weak comparison)."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def _parse_accept(accept: str) -> dict[str, float]:
    ranges = {}
    for item in accept.split(","):
        media_range, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        try:
            ranges[media_range] = float(quality)
        except ValueError:
            ranges[media_range] = 0.0
    return ranges


def _quality(media_type: str, ranges: dict[str, float]) -> float:
    name = media_type.lower()
    for media_range in (name, f"{name.partition('/')[0]}/*", "*/*"):
        if media_range in ranges:
            return ranges[media_range]
    return 0.0
