"""By which names clients may call the service.

An open service on a loopback address trusts whoever is on its machine, and so is the browser there: a site
that lets its own name point to 127.0.0.1 would be the same origin to it, and read and change everything. The
browser then says the site's name in ``Host``.

https://en.wikipedia.org/wiki/DNS_rebinding
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from service.errors import UnknownHost
from service.settings import Settings

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def refuse_other_names(header: str | None, settings: Settings) -> None:
    """Raises ``UnknownHost`` for a ``Host`` header with a name that is none of the service's."""
    names = _LOOPBACK | {settings.host.strip("[]").lower()} | {name.lower() for name in settings.hosts}
    if "*" in names or (settings.access is not None and not settings.hosts):
        return
    if _name_in(header or "") not in names:
        raise UnknownHost(
            "this service is not called so",
            where="Host",
            expected=", ".join(sorted(names)),
            got=(header or "no such header")[:200],
            advice="ask it by one of its names, or name this one in RAINPOST_HOSTS",
        )


def _name_in(header: str) -> str | None:
    """Without the port; None for what is no host at all."""
    try:
        parts = urlsplit(f"//{header}")
    except ValueError:
        return None
    return parts.hostname if parts.netloc == header and "@" not in header else None
