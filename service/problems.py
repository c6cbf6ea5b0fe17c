"""Errors as problem documents (RFC 9457)."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, Field

from service.errors import RainpostError

MEDIA_TYPE: Final = "application/problem+json"


class Problem(BaseModel):
    """What went wrong. Empty members are left out over HTTP."""

    type: str = Field(examples=["urn:rainpost:problem:missing-channel"])
    title: str = Field(description="The kind of problem, always the same for a type.")
    status: int = Field(description="HTTP status.")
    detail: str = Field(description="What happened, in one sentence.")
    instance: str = Field(default="", description="The request or the job in question.")
    reason: str = Field(description="Last part of the type; also a label of metrics and logs.")
    where: str = Field(default="", description="File, message, field or setting.")
    expected: str = ""
    got: str = ""
    advice: str = Field(default="", description="What can be done about it.")


def problem_of(error: RainpostError, instance: str = "") -> Problem:
    """The problem document of an error of the tree; its title is the class's own first line."""
    summary = (type(error).__doc__ or "").strip().partition("\n")[0]
    return Problem(
        type=_type(error.reason),
        title=summary.rstrip("."),
        status=error.status,
        detail=error.what,
        instance=instance,
        reason=error.reason,
        where=error.where,
        expected=error.expected,
        got=error.got,
        advice=error.advice,
    )


def internal_problem(advice: str, instance: str = "") -> Problem:
    """A fault of the service itself; what it was is in the log, not in the answer."""
    return Problem(
        type=_type("internal-error"),
        title="A fault of the service",
        status=500,
        detail="an unexpected error; it is in the service's log",
        instance=instance,
        reason="internal-error",
        advice=advice,
    )


def http_problem(status: int, detail: str, instance: str) -> Problem:
    """A refusal by the HTTP layer, such as an unknown route or method."""
    reason = {400: "bad-request", 404: "not-found", 405: "method-not-allowed"}.get(status, f"http-{status}")
    return Problem(
        type=_type(reason),
        title=detail,
        status=status,
        detail=detail,
        instance=instance,
        reason=reason,
        advice="GET /docs lists what there is",
    )


def _type(reason: str) -> str:
    return f"urn:rainpost:problem:{reason}"
