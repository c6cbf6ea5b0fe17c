"""Which samples belong to the training, the validation and the test split: by time, with a gap between them.

Source: paper section 3 (June 2020 to May 2022 without winter for training, September 2022 for validation,
August 2022 for the test).
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from service.errors import InputError

SPLITS: Final = ("train", "validation", "test")

Times = NDArray[np.datetime64]
Rows = NDArray[np.intp]

Span = tuple[date, date]
"""The days from the first to before the second, UTC, by reference time."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SpanSplits(_Strict):
    """Splits by spans of reference times.

    months_left_out: numbers of months (1-12) whose cycles belong to no split.
    gap_hours: valid times of two splits are at least this far apart, or the data are refused.
    """

    train: tuple[Span, ...] = Field(min_length=1)
    validation: tuple[Span, ...] = Field(min_length=1)
    test: tuple[Span, ...] = Field(min_length=1)
    months_left_out: tuple[Annotated[int, Field(ge=1, le=12)], ...] = ()
    gap_hours: float = Field(default=24, gt=0)

    def spans(self, name: str) -> tuple[Span, ...]:
        """The spans of a split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in SPLITS:
            for first, end in self.spans(name):
                if first >= end:
                    raise ValueError(f"the span {first} to {end} of {name} holds no day")
        return self

    def rows(self, name: str, times: Times, valid_times: Times) -> Rows:  # noqa: ARG002, as FoldSplits has it
        """Numbers of the samples of a split among samples with these reference times."""
        inside = np.zeros(len(times), bool)
        for first, end in self.spans(name):
            inside |= (times >= np.datetime64(first)) & (times < np.datetime64(end))
        months = times.astype("datetime64[M]").astype(int) % 12 + 1
        return np.flatnonzero(inside & ~np.isin(months, self.months_left_out))


class FoldSplits(_Strict):
    """Cross-validation: contiguous blocks of cycles in time; ``fold`` is the test, the next the validation.

    gap_hours: samples of validation and training whose valid time is nearer than this to the test, and of
    training to the validation, belong to no split.
    """

    folds: int = Field(ge=3)
    fold: int = Field(ge=0)
    gap_hours: float = Field(default=24, gt=0)

    @model_validator(mode="after")
    def _exists(self) -> Self:
        if self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds}: folds count from 0")
        return self

    def rows(self, name: str, times: Times, valid_times: Times) -> Rows:
        """Numbers of the samples of a split among samples with these times."""
        cycles, cycle = np.unique(times, return_inverse=True)
        block = cycle * self.folds // max(len(cycles), 1)
        test, validation = block == self.fold, block == (self.fold + 1) % self.folds
        if name == "test":
            return np.flatnonzero(test)
        validation &= ~self._near(valid_times, test)
        if name == "validation":
            return np.flatnonzero(validation)
        held_out = (block == self.fold) | (block == (self.fold + 1) % self.folds)
        return np.flatnonzero(~held_out & ~self._near(valid_times, test | validation))

    def _near(self, valid_times: Times, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which samples lie nearer to a chosen one than the gap."""
        others = np.sort(_hours(valid_times[chosen]))
        if not others.size:
            return np.zeros(len(valid_times), bool)
        hours = _hours(valid_times)
        after = np.searchsorted(others, hours)
        distance = np.minimum(
            np.abs(hours - others[np.minimum(after, len(others) - 1)]),
            np.abs(hours - others[np.maximum(after - 1, 0)]),
        )
        near: NDArray[np.bool_] = distance < self.gap_hours
        return near


def _kind(value: Any) -> str:
    keys = value if isinstance(value, dict) else type(value).model_fields
    return "folds" if "folds" in keys else "spans"


Splits = Annotated[
    Annotated[SpanSplits, Tag("spans")] | Annotated[FoldSplits, Tag("folds")], Discriminator(_kind)
]
"""``folds`` and ``fold``, or spans of time."""

SIMULATED: Final = SpanSplits(
    train=tuple((date(year, 6, 1), date(year, 10, 1)) for year in range(2012, 2022)),
    validation=tuple((date(year, 9, 3), date(year, 10, 1)) for year in (2022, 2023)),
    test=tuple((date(year, 8, 1), date(year, 8, 29)) for year in (2022, 2023)),
)
"""Of the simulated archive. August ends and September begins late enough to keep the valid times apart."""


def split_rows(
    splits: SpanSplits | FoldSplits, times: Times, leads_hours: NDArray[np.int64]
) -> dict[str, Rows]:
    """Numbers of the samples of every split, in the order of time and lead.

    Args:
        splits: which samples belong where.
        times: reference times of all samples.
        leads_hours: their leads.

    Raises:
        InputError: a split is empty, or valid times of two splits are nearer than the gap.
    """
    valid_times = times + leads_hours.astype("timedelta64[h]")
    order = np.lexsort((leads_hours, times))
    found = {}
    for name in SPLITS:
        rows = order[splits.rows(name, times[order], valid_times[order])]
        if not rows.size:
            span = f"{times.min()} to {times.max()}" if times.size else "nothing"
            raise InputError(
                f"The {name} split is empty",
                expected=str(splits),
                got=f"samples from {span}",
                advice="choose spans that the archive covers",
            )
        found[name] = rows
    _check_gap(splits.gap_hours, {name: valid_times[rows] for name, rows in found.items()})
    return found


def _hours(times: Times) -> NDArray[np.float64]:
    return times.astype("datetime64[s]").astype(np.float64) / 3600


def _check_gap(gap_hours: float, valid_times: dict[str, Times]) -> None:
    """Of all pairs from two splits the nearest are neighbours in time."""
    names = np.concatenate([np.full(len(times), name) for name, times in valid_times.items()])
    times = np.concatenate(list(valid_times.values()))
    order = np.argsort(times, kind="stable")
    names, times = names[order], times[order]
    near = (names[1:] != names[:-1]) & (np.diff(_hours(times)) < gap_hours)
    if near.any():
        first = int(near.argmax())
        raise InputError(
            "Two splits are too near in time",
            expected=f"valid times at least {gap_hours:g} h apart",
            got=f"{names[first]} at {times[first]}, {names[first + 1]} at {times[first + 1]}",
            advice="shorten a span",
        )
