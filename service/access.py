"""Who asks, and whether they may: API keys and, by setting, tokens of an OpenID Connect provider."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from service.api_keys import PREFIX, ApiKey, ApiKeys, parse_key
from service.errors import MissingScope, SettingsError, TooManyRequests, Unauthenticated, Unavailable
from service.rates import Rate, network_of
from service.scopes import SCOPES, Scope, allows
from service.settings import Settings
from service.tokens import OidcTokens, TokenVerifier

_logger = logging.getLogger(__name__)

_KNOWN_SECONDS: Final = 2.0
"""How long a process goes by what it last read of a key: a revoked one is refused everywhere after that."""

_OUTAGE_SECONDS: Final = 600.0
"""How long it does while the database does not answer."""

_MOST_KNOWN: Final = 1000
_FAILURES_PER_MINUTE: Final = 30
_DEFAULT_PER_MINUTE: Final = 1200


@dataclass(frozen=True)
class Principal:
    """Who asks. name: for logs and histories. rate: under which name requests are counted."""

    name: str
    scopes: frozenset[Scope]
    rate: str


class Access:
    """Checks each request of this process."""

    def __init__(self, settings: Settings, keys: ApiKeys, tokens: TokenVerifier | None = None) -> None:
        self._protected = settings.access == "protected"
        self._reading_is_public = settings.reading == "public"
        self._keys = keys
        self._tokens = tokens
        self._known: dict[str, tuple[ApiKey, float]] = {}
        per_minute = settings.requests_per_minute
        if per_minute is None:
            per_minute = _DEFAULT_PER_MINUTE if self._protected else 0
        self._rate = Rate(per_minute) if per_minute else None
        self._failures = Rate(_FAILURES_PER_MINUTE)

    async def authorise(self, header: str | None, host: str, needed: Scope | None) -> Principal:
        """Who asks, by the ``Authorization`` header of the request, if they may.

        needed: the scope of what is asked for, None where nobody has to say who they are.
        Raises ``Unauthenticated``, ``MissingScope``, ``TooManyRequests`` and ``Unavailable``.
        """
        address = network_of(host)
        anonymous = Principal(address, frozenset(), address)
        if not self._protected:
            self._count(anonymous)
            return Principal(address, frozenset(SCOPES), address)
        if needed is None:
            self._count(anonymous)
            return anonymous
        if header is None:
            self._count(anonymous)
            if needed == "read" and self._reading_is_public:
                return anonymous
            raise Unauthenticated(
                "this needs a key",
                where="Authorization",
                expected=f"Bearer and a key with the scope {needed}",
                got="no such header",
                advice="ask the operator of the service for a key (`rainpost keys create`)",
            )
        principal = await self._identify(header, address)
        self._count(principal)
        if not allows(principal.scopes, needed):
            raise MissingScope(
                "this key does not allow it",
                where="Authorization",
                expected=f"the scope {needed}",
                got=", ".join(sorted(principal.scopes)) or "no scope",
                advice="ask the operator of the service for a key with this scope",
            ).needing(needed)
        return principal

    def _count(self, principal: Principal) -> None:
        if self._rate is not None and (wait := self._rate.take(principal.rate)):
            raise TooManyRequests("too many requests", where=principal.name).after(wait)

    async def _identify(self, header: str, address: str) -> Principal:
        # Before anything is looked up: who guesses does not get to ask the database each time.
        if wait := self._failures.wait_seconds(address):
            raise TooManyRequests("too many wrong keys", where=address).after(wait)
        try:
            return await self._read(header)
        except Unauthenticated as error:
            self._failures.take(address)
            _logger.warning("refused a request from %s: %s", address, error.what)
            raise

    async def _read(self, header: str) -> Principal:
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(
                "not a bearer token", where="Authorization", expected="Bearer and a key"
            ).refusing()
        if token.startswith(PREFIX) or self._tokens is None:
            key = await self._key(token)
            return Principal(f"{key.name} ({key.id})", key.scopes, f"key {key.id}")
        subject, scopes = await asyncio.to_thread(self._tokens.verify, token)
        return Principal(subject, scopes, f"token {subject}")

    async def _key(self, text: str) -> ApiKey:
        parts = parse_key(text)
        if parts is None:
            raise _refusal("not a key of this service")
        key = await self._look_up(parts[0])
        if key is None or not key.is_of(parts[1]):
            raise _refusal("the key is not known")
        if not key.holds(datetime.now(UTC)):
            raise _refusal("the key was revoked" if key.revoked else "the key has expired")
        return key

    async def _look_up(self, key_id: str) -> ApiKey | None:
        known, since = self._known.get(key_id, (None, 0.0))
        age = time.monotonic() - since
        if known is not None and age < _KNOWN_SECONDS:
            return known
        try:
            key = await asyncio.to_thread(self._keys.find, key_id)
        except SQLAlchemyError as error:
            if known is not None and age < _OUTAGE_SECONDS:
                return known
            raise Unavailable(
                "keys cannot be checked: the database does not answer",
                where="RAINPOST_DATABASE_URL",
                got=type(error).__name__,
            ) from error
        self._known.pop(key_id, None)
        if key is not None:
            self._known[key_id] = (key, time.monotonic())
            if len(self._known) > _MOST_KNOWN:
                self._known.pop(next(iter(self._known)))
        return key


def _refusal(what: str) -> Unauthenticated:
    return Unauthenticated(
        what,
        where="Authorization",
        expected="Bearer and a valid key",
        advice="ask the operator of the service for a key (`rainpost keys create`)",
    ).refusing()


def open_access(settings: Settings, keys: ApiKeys) -> Access:
    """As the settings say. Raises ``SettingsError`` where tokens are asked for and cannot be read."""
    if settings.oidc_issuer is None or settings.oidc_audience is None:
        return Access(settings, keys)
    return Access(
        settings, keys, OidcTokens(settings.oidc_issuer, settings.oidc_audience, settings.oidc_scope_claim)
    )


def check_exposure(settings: Settings) -> None:
    """Raises ``SettingsError`` where others than this machine could do anything without being asked."""
    if settings.access is not None or _is_loopback(settings.host):
        return
    raise SettingsError(
        "the service would be open to the network, and everybody could submit and change models",
        where="RAINPOST_HOST, RAINPOST_ACCESS",
        expected="RAINPOST_ACCESS=protected: who changes anything needs a key (`rainpost keys create`); or "
        "RAINPOST_ACCESS=open, where a proxy in front, and nobody else, reaches this address and decides "
        "who may do what; or a loopback address such as 127.0.0.1",
        got=f"RAINPOST_HOST={settings.host} without RAINPOST_ACCESS",
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
