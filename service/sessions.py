"""The cookie by which a browser that signed in may read.

A page cannot send a header with ``EventSource``, nor with a link; a cookie goes with both. It holds the key
itself: whoever may read the cookie may read what the page shows, for the browser hands it to no script
(HttpOnly) and to no request that another site begins (SameSite=Strict), and it allows no change at all.

https://www.rfc-editor.org/rfc/rfc6265
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

COOKIE: Final = "rainpost_key"

_READING: Final = frozenset({"GET", "HEAD"})


def credentials(method: str, header: str | None, cookies: Mapping[str, str]) -> str | None:
    """What a request says of who asks, as an ``Authorization`` header; the header itself goes first."""
    if header is not None or method not in _READING:
        return header
    key = cookies.get(COOKIE)
    return f"Bearer {key}" if key else None
