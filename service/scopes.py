"""Who may do what: the scope that each route needs. What is not in the table needs ``admin``."""

from __future__ import annotations

from typing import Final, Literal

Scope = Literal["read", "submit", "observe", "admin"]
"""What a key allows: read everything, hand in cycles, hand in observations, change models."""

SCOPES: Final[tuple[Scope, ...]] = ("read", "submit", "observe", "admin")

MEANINGS: Final[dict[Scope, str]] = {
    "read": "read cycles, products, scores, models and metrics; every key may, where reading needs one",
    "submit": "hand in cycles, have the inbox looked at, cancel jobs",
    "observe": "hand in observations",
    "admin": "change the active model and its shadow",
}

_OPEN: Final = frozenset({"/", "/page/{name}", "/docs", "/openapi.json", "/livez", "/readyz"})
"""They hold no data: the page without its forecasts, the reference, and what an orchestrator asks for."""

_READING: Final = frozenset({"GET", "HEAD"})

_CHANGES: Final[dict[tuple[str, str], Scope | None]] = {
    # Signing in says who asks, and changes nothing of the service.
    ("POST", "/session"): None,
    ("DELETE", "/session"): None,
    ("POST", "/correct"): "submit",
    ("DELETE", "/jobs/{job_id}"): "submit",
    ("POST", "/ingest"): "submit",
    ("POST", "/observations"): "observe",
    ("PUT", "/models/active"): "admin",
    ("DELETE", "/models/active"): "admin",
    ("PUT", "/models/shadow"): "admin",
    ("DELETE", "/models/shadow"): "admin",
}


def needed_scope(method: str, template: str) -> Scope | None:
    """For a method on a route, given by the template of its path; None where nobody is asked who they are."""
    if method in _READING:
        return None if template in _OPEN else "read"
    return _CHANGES.get((method, template), "admin")


def allows(held: frozenset[Scope], needed: Scope) -> bool:
    """Whether somebody with these scopes may do what needs that one. Whoever has any may read."""
    return needed in held or (needed == "read" and bool(held))
