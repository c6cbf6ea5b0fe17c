"""Settings of how long things are looked for, and kept."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from service.access_settings import AccessSettings

_HOURS_A_DAY = 24


class RetentionSettings(AccessSettings):
    """The part of the settings that is about age, and what it is built upon."""

    catch_up_hours: float = Field(
        default=48,
        gt=0,
        description="How far back the inbox is looked through for cycles that were missed, or lacked leads. "
        "Older ones take `rainpost backfill`.",
    )
    keep_days: float | None = Field(
        default=None,
        gt=0,
        description="How many days of cycles and observations are kept, counted back from the newest cycle. "
        "What is older is removed with all its revisions, jobs and explanations; the counts of verification "
        "stay. At least RAINPOST_CATCH_UP_HOURS. By default everything is kept: nothing that was published "
        "goes before somebody has said so.",
    )
    failed_retention_hours: float = Field(
        default=72,
        ge=0,
        description="How long the uploaded files of a failed job, and what the gate kept aside, are kept.",
    )

    @field_validator("keep_days", mode="after")
    @classmethod
    def _longer_than_it_is_looked_for(cls, value: float | None, info: ValidationInfo) -> float | None:
        # Otherwise the inbox would bring back what was removed, again and again.
        hours = info.data.get("catch_up_hours")
        if value is not None and hours is not None and _HOURS_A_DAY * value < hours:
            raise ValueError(f"at least RAINPOST_CATCH_UP_HOURS, which is {hours / _HOURS_A_DAY:g} days")
        return value
