"""Bearer tokens of an OpenID Connect provider: signed JWTs, checked with the keys that it publishes.

https://openid.net/specs/openid-connect-discovery-1_0.html, RFC 7519; RFC 8725 on what not to accept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import httpx

from service.errors import SettingsError, Unauthenticated, Unavailable
from service.scopes import SCOPES, Scope

SCOPE_PREFIX: Final = "rainpost:"
"""Of our scopes among those of the provider: ``rainpost:submit``."""

_ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
"""With a public key alone: with a shared one, whoever can check a token could make one."""

_LEEWAY_SECONDS: Final = 30
_KEYS_SECONDS: Final = 300.0
_FEWEST_SECONDS: Final = 10.0
"""Between two looks for the keys, whatever tokens come in."""

_TIMEOUT_SECONDS: Final = 5.0
_MOST_TOKEN_CHARACTERS: Final = 16_384


class TokenVerifier(Protocol):
    """Reads tokens that are no keys."""

    def verify(self, token: str) -> tuple[str, frozenset[Scope]]:
        """Subject and scopes. Raises ``Unauthenticated`` and ``Unavailable``."""
        ...


class OidcTokens:
    """Tokens of one issuer for one audience. Many threads may use it at the same time.

    scope_claim: of the scopes or roles, a list or a text that blanks separate.
    """

    def __init__(
        self, issuer: str, audience: str, scope_claim: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        try:
            import jwt  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise SettingsError(
                "tokens need a library that is not installed",
                where="RAINPOST_OIDC_ISSUER",
                expected="pip install 'rainpost[oidc]'",
            ) from error
        self._jwt = jwt
        self._issuer = issuer
        self._audience = audience
        self._scope_claim = scope_claim
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str, Any] = {}
        self._looked: float | None = None

    def verify(self, token: str) -> tuple[str, frozenset[Scope]]:
        """Subject and scopes of a token. Raises ``Unauthenticated`` and ``Unavailable``."""
        jwt = self._jwt
        if len(token) > _MOST_TOKEN_CHARACTERS:
            raise _refusal("the token is too long")
        try:
            key = self._key(str(jwt.get_unverified_header(token).get("kid", "")))
            claims = jwt.decode(
                token,
                key,
                algorithms=list(_ALGORITHMS),
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            # The library's words name what is wrong with the token, and never show it.
            raise _refusal(f"the token is not valid: {type(error).__name__}") from error
        return str(claims["sub"])[:200], scopes_in(claims, self._scope_claim)

    def _key(self, key_id: str) -> Any:
        with self._lock:
            age = None if self._looked is None else self._clock() - self._looked
            known = self._keys.get(key_id)
            if age is None or age > _KEYS_SECONDS or (known is None and age > _FEWEST_SECONDS):
                self._looked = self._clock()
                self._keys = self._published(self._keys)
                known = self._keys.get(key_id)
        if known is None:
            raise _refusal("the token is signed with a key that the provider does not publish")
        return known

    def _published(self, before: dict[str, Any]) -> dict[str, Any]:
        """The provider's keys; those of before where it does not answer."""
        try:
            return self._fetch()
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            ValueError,
            KeyError,
            TypeError,
            self._jwt.PyJWTError,
        ) as error:
            if before:
                return before
            raise Unavailable(
                "tokens cannot be checked: the identity provider does not answer as it should",
                where="RAINPOST_OIDC_ISSUER",
                got=type(error).__name__,
            ) from error

    def _fetch(self) -> dict[str, Any]:
        with httpx.Client(timeout=_TIMEOUT_SECONDS) as client:
            about = client.get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            document = about.raise_for_status().json()
            if document["issuer"] != self._issuer:
                raise ValueError("it calls itself otherwise")
            answer = client.get(document["jwks_uri"]).raise_for_status().json()
            return {key.key_id or "": key for key in self._jwt.PyJWKSet.from_dict(answer).keys}


def scopes_in(claims: Mapping[str, Any], name: str) -> frozenset[Scope]:
    """Our scopes in a claim, which may be a text, a list, or absent."""
    value = claims.get(name, "")
    words = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(scope for scope in SCOPES if SCOPE_PREFIX + scope in words)


def _refusal(what: str) -> Unauthenticated:
    return Unauthenticated(
        what,
        where="Authorization",
        expected="Bearer and a token of the provider in RAINPOST_OIDC_ISSUER, or a key",
    ).refusing()
