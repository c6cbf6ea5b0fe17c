"""Forecast files and observations on disk as samples: what belongs together, what is read, what is left out.

Everything is read through the service's own path, so that a training sample equals the serving input. The
functions here run in worker processes and return what had to be left out instead of raising it, whatever a
library raises for it: one broken file among months of them must not end the work on the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from service import files
from service.cycle import assemble
from service.errors import RainpostError
from service.fields import FieldHeader, ReadRegion
from service.observation import read_observation
from service.specification import CycleSpecification
from service.times import iso_time
from training.archive_store import CycleSamples, Floats

NO_OBSERVATION = "no-observation"

Kind = Literal["forecast file", "observation file", "lead", "cycle"]


class Omission(BaseModel):
    """Something that was left out, and why: a line of the report.

    reason: slug of the error, or the name of the class of one that is not the service's.
    reference_time, lead_hours: of cycles and leads. file: of files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    left_out: Kind
    reason: str
    message: str
    file: str | None = None
    reference_time: str | None = None
    lead_hours: int | None = None

    @classmethod
    def of_file(cls, kind: Kind, path: Path, error: Exception) -> Omission:
        """A file that cannot be used."""
        return cls(left_out=kind, reason=_reason(error), message=str(error), file=str(path))

    @classmethod
    def of_lead(cls, time: np.datetime64, lead_hours: int, error: Exception) -> Omission:
        """A lead that cannot be read."""
        return cls(
            left_out="lead",
            reason=_reason(error),
            message=str(error),
            reference_time=iso_time(time),
            lead_hours=lead_hours,
        )

    @classmethod
    def of_cycle(cls, time: np.datetime64, reason: str, message: str) -> Omission:
        """A cycle of which nothing is left."""
        return cls(left_out="cycle", reason=reason, message=message, reference_time=iso_time(time))


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, RainpostError) else type(error).__name__


@dataclass(frozen=True)
class Look:
    """Which times a file is about, or why it cannot be used."""

    path: Path
    times: tuple[np.datetime64, ...] = ()
    omission: Omission | None = None


@dataclass(frozen=True)
class CycleFiles:
    """The files of a cycle, and the observation file of each lead that has one."""

    reference_time: np.datetime64
    forecasts: tuple[Path, ...]
    observations: Mapping[int, Path]


@dataclass(frozen=True)
class Reading:
    """The samples of a cycle, None if nothing of it can be used, and what was left out."""

    samples: CycleSamples | None
    omissions: tuple[Omission, ...]


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and in the folders in it, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def look_at_forecast(path: Path) -> Look:
    """The reference times of the fields of a file."""
    try:
        return Look(path, tuple(sorted({header.reference_time for header in files.scan(path)})))
    except Exception as error:  # noqa: BLE001, see the module's docstring
        return Look(path, omission=Omission.of_file("forecast file", path, error))


@dataclass(frozen=True)
class LookAtObservation:
    """The valid time of an observation file."""

    specification: CycleSpecification

    def __call__(self, path: Path) -> Look:
        try:
            return Look(path, (read_observation(path, self.specification).valid_time,))
        except Exception as error:  # noqa: BLE001, see the module's docstring
            return Look(path, omission=Omission.of_file("observation file", path, error))


def matched(
    forecasts: Iterable[Look], observations: Iterable[Look], specification: CycleSpecification
) -> list[CycleFiles]:
    """What belongs together, in the order of time. Of several observations of one hour the first counts."""
    observed: dict[np.datetime64, Path] = {}
    for look in observations:
        for time in look.times:
            observed.setdefault(time, look.path)
    paths: dict[np.datetime64, list[Path]] = defaultdict(list)
    for look in forecasts:
        for time in look.times:
            paths[time].append(look.path)
    return [
        CycleFiles(
            time,
            tuple(paths[time]),
            {
                lead: observed[valid]
                for lead in specification.leads_hours
                if (valid := time + np.timedelta64(lead, "h")) in observed
            },
        )
        for time in sorted(paths)
    ]


@dataclass(frozen=True)
class ReadSamples:
    """Reads the samples of a cycle: of all leads that have an observation and can be read."""

    specification: CycleSpecification

    def __call__(self, cycle: CycleFiles) -> Reading:
        try:
            return self._read(cycle)
        except Exception as error:  # noqa: BLE001, see the module's docstring
            omission = Omission.of_cycle(cycle.reference_time, _reason(error), str(error))
            return Reading(None, (omission,))

    def _read(self, cycle: CycleFiles) -> Reading:
        rain_mm, omissions = self._observed(cycle)
        inputs, more = self._forecast(cycle, tuple(rain_mm)) if rain_mm else ({}, [])
        omissions += more
        if not inputs:
            first = omissions[0]
            message = f"no lead can be used; lead {first.lead_hours} h: {first.message}"
            return Reading(None, (Omission.of_cycle(cycle.reference_time, first.reason, message),))
        samples = CycleSamples(
            cycle.reference_time,
            tuple(inputs),
            np.stack(list(inputs.values())),
            np.stack([rain_mm[lead] for lead in inputs]),
        )
        return Reading(samples, tuple(omissions))

    def _observed(self, cycle: CycleFiles) -> tuple[dict[int, Floats], list[Omission]]:
        """Observed rain by lead, and the leads without."""
        found, omissions = {}, []
        for lead in self.specification.leads_hours:
            valid_time = cycle.reference_time + np.timedelta64(lead, "h")
            if lead not in cycle.observations:
                omissions.append(
                    Omission(
                        left_out="lead",
                        reason=NO_OBSERVATION,
                        message=f"no observation of the hour until {iso_time(valid_time)}",
                        reference_time=iso_time(cycle.reference_time),
                        lead_hours=lead,
                    )
                )
                continue
            try:
                observation = read_observation(cycle.observations[lead], self.specification)
            except RainpostError as error:
                omissions.append(Omission.of_lead(cycle.reference_time, lead, error))
            else:
                found[lead] = observation.rain_mm
        return found, omissions

    def _forecast(
        self, cycle: CycleFiles, leads_hours: tuple[int, ...]
    ) -> tuple[dict[int, Floats], list[Omission]]:
        """Inputs (channel, y, x) by lead, and the leads that cannot be read."""
        headers = [
            header
            for path in cycle.forecasts
            for header in files.scan(path)
            if header.reference_time == cycle.reference_time
        ]
        with files.reading() as read:
            try:
                return self._assembled(headers, read, leads_hours), []
            except RainpostError:
                pass
            found: dict[int, Floats] = {}
            omissions = []
            for lead in leads_hours:
                try:
                    found |= self._assembled(headers, read, (lead,))
                except RainpostError as error:
                    omissions.append(Omission.of_lead(cycle.reference_time, lead, error))
            return found, omissions

    def _assembled(
        self,
        headers: Sequence[FieldHeader],
        read: ReadRegion,
        leads_hours: tuple[int, ...],
    ) -> dict[int, Floats]:
        specification = self.specification.model_copy(update={"leads_hours": leads_hours})
        return dict(zip(leads_hours, assemble(headers, read, specification).values, strict=True))
