"""The error tree.

RainpostError
├── SettingsError                bad-settings          an unknown or invalid setting
├── ArtefactError                bad-artefact          a model folder that cannot be trusted
├── ModelRefused                 model-refused         a model that cannot take the role it was chosen for
├── InputError                   bad-input             what the user sent cannot be used
│   ├── RequestError             bad-request           the request itself is malformed
│   ├── EmptyInput               empty-input           no bytes, or no file
│   ├── UnrecognisedInput        unrecognised-format   neither GRIB nor NetCDF
│   ├── TruncatedInput           truncated-file        a file that ends too early or does not decode
│   ├── DigestMismatch           digest-mismatch       bytes are not those that were announced
│   ├── MixedCycles              mixed-cycles          more than one reference time
│   ├── WrongPeriod              wrong-period          an observation of another time or duration
│   ├── WrongSource              wrong-source          another forecast model than the manifest's
│   ├── WrongGrid                wrong-grid            a grid that is not the manifest's source grid
│   ├── OutsideGrid              outside-grid          target points that the source does not cover
│   ├── MissingLead              missing-lead          no field at all for a lead
│   ├── MissingChannel           missing-channel       a channel absent from a lead that is there
│   ├── MissingValues            missing-values        NaN or bitmap holes inside the target window
│   └── PhysicalLimit            physical-limit        values that no atmosphere has
├── Unauthenticated              unauthenticated       no key or token, or none that holds
├── MissingScope                 missing-scope         a key or token that does not allow this
├── CrossSite                    cross-site            a change that another site's page asks for
├── UnknownHost                  unknown-host          a name of the service that nobody gave it
├── TooManyRequests              too-many-requests     more requests than the limit allows
├── ForbiddenInput               forbidden-input       a reference outside the allowed folders
├── TooLarge                     too-large             a body above the limit
├── TooSlow                      too-slow              a body that comes too slowly
├── NotFound                     not-found             no such job, cycle, lead or product
├── NotAcceptable                not-acceptable        no representation of the asked media type
├── Conflict                     conflict              the state does not allow what was asked for
├── PreconditionFailed           precondition-failed   the state is not the one that the client expected
├── QueueFull                    queue-full            more jobs wait than the limit allows
├── Unavailable                  unavailable           the service cannot take work for a while
├── InferenceError               inference-failed      the runtime failed or returned impossible values
├── GateRefused                  gate-refused          a product that must not be published
└── WorkerDied                   worker-died           the decoding process ended without an answer

Every error says what happened, where, what was expected, what was found and what to do. ``reason`` is
fixed: it is the problem type over HTTP (RFC 9457), the field of a log line and the label of a metric.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final, Self

_CHALLENGE: Final = 'Bearer realm="rainpost"'


class RainpostError(Exception):
    """Root of the tree.

    Parameters are plain text for people; none of them is parsed again.

    what: one sentence on what went wrong.
    where: file, message, field or setting in question.
    expected, got: what the code wanted to see and what it saw.
    advice: what the reader can do about it.
    """

    reason: ClassVar[str] = "internal-error"
    status: ClassVar[int] = 500
    retry_after_seconds: int | None = None
    """When a client may try again; sent as ``Retry-After``."""
    challenge: str | None = None
    """How a client can say who it is; sent as ``WWW-Authenticate``."""

    def __init__(
        self, what: str, *, where: str = "", expected: str = "", got: str = "", advice: str = ""
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.got = got
        self.advice = advice
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        parts = [
            self.what,
            f"where: {self.where}" if self.where else "",
            f"expected: {self.expected}" if self.expected else "",
            f"got: {self.got}" if self.got else "",
            self.advice,
        ]
        return "; ".join(part for part in parts if part)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling between processes.
        parts = (type(self), self.what, self.where, self.expected, self.got, self.advice)
        return _rebuild, parts, vars(self)


def _rebuild(
    kind: type[RainpostError], what: str, where: str, expected: str, got: str, advice: str
) -> RainpostError:
    return kind(what, where=where, expected=expected, got=got, advice=advice)


class SettingsError(RainpostError):
    """An unknown or invalid setting."""

    reason = "bad-settings"


class ArtefactError(RainpostError):
    """A model folder that cannot be trusted: checksum, schema, provider or golden case."""

    reason = "bad-artefact"


class ModelRefused(RainpostError):
    """A model that cannot take the role it was chosen for; the one before keeps it."""

    reason = "model-refused"
    status = 422


class InputError(RainpostError):
    """What the user sent cannot be used."""

    reason = "bad-input"
    status = 422


class RequestError(InputError):
    """The request itself is malformed."""

    reason = "bad-request"
    status = 400


class EmptyInput(InputError):
    """No bytes, or no file."""

    reason = "empty-input"
    status = 400


class UnrecognisedInput(InputError):
    """Neither GRIB nor NetCDF."""

    reason = "unrecognised-format"
    status = 415


class TruncatedInput(InputError):
    """A file that ends too early or does not decode."""

    reason = "truncated-file"


class DigestMismatch(InputError):
    """The bytes are not those that were announced."""

    reason = "digest-mismatch"


class MixedCycles(InputError):
    """More than one reference time in one submission, or another one than was asked for."""

    reason = "mixed-cycles"


class WrongPeriod(InputError):
    """An observation whose period is unknown, or another one than the model's or the declared one."""

    reason = "wrong-period"


class WrongSource(InputError):
    """Another forecast model than the manifest's, or a forecast in place of an observation."""

    reason = "wrong-source"


class WrongGrid(InputError):
    """A grid that is not the manifest's source grid, or several grids in one cycle."""

    reason = "wrong-grid"


class OutsideGrid(InputError):
    """Target points that the source grid does not cover."""

    reason = "outside-grid"


class MissingLead(InputError):
    """No field at all for a lead that the manifest asks for."""

    reason = "missing-lead"


class MissingChannel(InputError):
    """A channel absent from a lead that is otherwise there."""

    reason = "missing-channel"


class MissingValues(InputError):
    """NaN or bitmap holes inside the target window."""

    reason = "missing-values"


class PhysicalLimit(InputError):
    """Values that no atmosphere has."""

    reason = "physical-limit"


class Unauthenticated(RainpostError):
    """No key or token, or none that holds.

    https://www.rfc-editor.org/rfc/rfc6750#section-3
    """

    reason = "unauthenticated"
    status = 401
    challenge = _CHALLENGE

    def refusing(self) -> Self:
        """The same, of a key or token that was sent."""
        self.challenge = f'{_CHALLENGE}, error="invalid_token"'
        return self


class MissingScope(RainpostError):
    """A key or token that does not allow this."""

    reason = "missing-scope"
    status = 403

    def needing(self, scope: str) -> Self:
        """The same, with the scope that would allow it."""
        self.challenge = f'{_CHALLENGE}, error="insufficient_scope", scope="{scope}"'
        return self


class CrossSite(RainpostError):
    """A change that the page of another site asks for."""

    reason = "cross-site"
    status = 403


class UnknownHost(RainpostError):
    """A host name that is none of this service's."""

    reason = "unknown-host"
    status = 421


class TooManyRequests(RainpostError):
    """More requests than the limit allows."""

    reason = "too-many-requests"
    status = 429
    retry_after_seconds = 60

    def after(self, seconds: int) -> Self:
        """The same, with the time after which the next one is taken."""
        self.retry_after_seconds = seconds
        return self


class ForbiddenInput(RainpostError):
    """A reference outside the allowed folders."""

    reason = "forbidden-input"
    status = 403


class TooLarge(RainpostError):
    """A body above the limit."""

    reason = "too-large"
    status = 413


class TooSlow(RainpostError):
    """A body that comes too slowly."""

    reason = "too-slow"
    status = 408


class NotFound(RainpostError):
    """No such job, cycle, lead or product."""

    reason = "not-found"
    status = 404


class NotAcceptable(RainpostError):
    """No representation of the asked media type."""

    reason = "not-acceptable"
    status = 406


class Conflict(RainpostError):
    """The state does not allow what was asked for, such as the cancellation of a finished job."""

    reason = "conflict"
    status = 409


class PreconditionFailed(RainpostError):
    """The state is not the one that the client expected: somebody else changed it."""

    reason = "precondition-failed"
    status = 412


class QueueFull(RainpostError):
    """More jobs wait than the limit allows."""

    reason = "queue-full"
    status = 429
    retry_after_seconds = 60


class Unavailable(RainpostError):
    """The service cannot take work for a while."""

    reason = "unavailable"
    status = 503
    retry_after_seconds = 30


class InferenceError(RainpostError):
    """The runtime failed or returned impossible values."""

    reason = "inference-failed"


class GateRefused(RainpostError):
    """A product that must not be published: input or output are beyond the limits of the gate."""

    reason = "gate-refused"
    status = 422


class WorkerDied(RainpostError):
    """The decoding process ended without an answer; the input is suspect, the service is not."""

    reason = "worker-died"
    status = 422


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, and what led to it, the last first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
