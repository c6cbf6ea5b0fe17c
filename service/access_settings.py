"""Settings of who may do what, and how much a client may take up."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

Access = Literal["open", "protected"]
"""Whether everybody may do everything, or who changes anything needs a key."""

Reading = Literal["public", "protected"]
"""Whether reading needs a key too, where access is protected."""


class AccessSettings(BaseSettings):
    """The part of the settings that is about clients."""

    access: Access | None = Field(
        default=None,
        description="`protected`: whoever changes anything needs a key (`rainpost keys`) or a token "
        "(RAINPOST_OIDC_ISSUER). `open`: nobody does; for a proxy in front that decides it. By default the "
        "service is open on a loopback address, and does not start on another one.",
    )
    reading: Reading = Field(
        default="public",
        description="With RAINPOST_ACCESS=protected: whether reading (cycles, products, scores, metrics) is "
        "`public`, or `protected` by a key with any scope; the page then asks for one.",
    )
    key: SecretStr | None = Field(
        default=None,
        description="Key or token that the commands of the command line send to the service. Without it they "
        "make themselves one in the database for as long as they run.",
    )
    oidc_issuer: str | None = Field(
        default=None,
        pattern=r"^(https://|http://(127\.0\.0\.1|localhost)[:/])\S*$",
        description="OpenID Connect provider, such as `https://login.example.org/realms/weather`, whose "
        "tokens are taken beside keys with RAINPOST_ACCESS=protected. None by default. Needs "
        "`rainpost[oidc]`.",
    )
    oidc_audience: str | None = Field(
        default=None,
        min_length=1,
        validate_default=True,
        description="Audience (`aud`) that a token must be made for. Needed with RAINPOST_OIDC_ISSUER.",
    )
    oidc_scope_claim: str = Field(
        default="scope",
        min_length=1,
        description="Claim of a token that holds the scopes, as a list or a text: `rainpost:read`, "
        "`rainpost:submit`, `rainpost:observe`, `rainpost:admin`.",
    )
    hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names, separated by commas, by which clients may call the service in `Host`, beside "
        "`localhost`, `127.0.0.1`, `::1` and RAINPOST_HOST; `*` for any. Another one gets 421. By default "
        "no other name where RAINPOST_ACCESS is not set, so that no page of another site reaches an open "
        "service through a name of its own (DNS rebinding), and any otherwise.",
    )
    requests_per_minute: int | None = Field(
        default=None,
        ge=0,
        description="Requests of one key, or without one of one address, that each process answers a minute; "
        "more get 429 and `Retry-After`. 0 for any number. By default 1200 with RAINPOST_ACCESS=protected, "
        "and any number otherwise.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1", "::1"),
        description="Addresses or networks, separated by commas, of proxies whose `X-Forwarded-For` and "
        "`X-Forwarded-Proto` are believed.",
    )
    max_connections: int = Field(
        default=1000,
        gt=0,
        description="Connections at the same time; requests beyond get 503. Have twice as many open files "
        "allowed (`ulimit -n`).",
    )
    receive_timeout_seconds: float = Field(
        default=30,
        gt=0,
        description="How long a client may take to send the head of a request, and each 64 KiB of its body.",
    )

    @field_validator("oidc_audience", mode="after")
    @classmethod
    def _for_whom(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("oidc_issuer"):
            raise ValueError("needed with RAINPOST_OIDC_ISSUER")
        return value

    @field_validator("trusted_proxies", "hosts", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("trusted_proxies", mode="after")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network)
        return value
