"""Observations beside the products that forecast them: both arrive in any order and any number of times.

Whoever publishes, a product or an observation, compares it afterwards with what is there of the other kind.
Two that are published at the same time may both compare: the ledger keeps one of the two equal results. What
a kill leaves undone is done by ``catch_up`` at the next start.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from service.ledger import Entry, Ledger, Match
from service.observation import Observation
from service.observation_store import ObservationRecord, ObservationStore
from service.shelf import Shelf
from service.specification import CycleSpecification
from service.store import Record, Store
from service.submission import InputFile
from service.times import parse_time
from service.verification_counts import Source, count_lead

_logger = logging.getLogger(__name__)

_HOUR: Final = np.timedelta64(3600, "s")
_LONGEST_LEAD_HOURS: Final = 240
"""How far back products are looked for that forecast an hour."""

_SAME_POINT_DEGREES: Final = 1e-4


@dataclass(frozen=True)
class MatchedProduct:
    """A product that was compared with an observation, at the lead that ends when it does."""

    record: Record
    lead_hours: int


class Verification:
    """Stores observations and keeps the ledger up to date; safe to use from several threads.

    shelf: of what is published. shadows: of the products that are only scored.
    """

    def __init__(
        self, shelf: Shelf, observations: ObservationStore, ledger: Ledger, shadows: Shelf | None = None
    ) -> None:
        self._shelves: dict[Source, Shelf] = {"model": shelf}
        if shadows is not None:
            self._shelves["shadow"] = shadows
        self._observations = observations
        self._ledger = ledger
        self._comparing = threading.Lock()

    def take(
        self, observation: Observation, file: InputFile, path: Path, specification: CycleSpecification
    ) -> tuple[ObservationRecord, bool, list[MatchedProduct]]:
        """Store an observation that was read from ``path`` by this specification, and compare it.

        The record, whether it is new, and the products that the newest revision of its hour is compared with.
        """
        record, new = self._observations.publish(observation, file, path, specification)
        return record, new, self.match_observation(record.time)

    def match_observation(self, valid_time: np.datetime64) -> list[MatchedProduct]:
        """Compare the newest observation of an hour with the newest product of every cycle and model.

        Of those that it can be compared with the published ones.
        """
        observation = self._observations.newest(valid_time)
        if observation is None:
            return []
        matched = [
            (source, MatchedProduct(record, lead_hours))
            for source, shelf in self._shelves.items()
            for record, lead_hours in _products_at(shelf.store, valid_time)
            if self._compare(observation, record, lead_hours, source)
        ]
        return [one for source, one in matched if source == "model"]

    def match_product(self, record: Record, source: Source = "model") -> int:
        """Compare a product with the observations of its leads; how many of them there are."""
        reference_time = parse_time(record.reference_time)
        found = 0
        for lead_hours in record.origin.leads_hours:
            observation = self._observations.newest(reference_time + lead_hours * _HOUR)
            if observation is not None:
                found += self._compare(observation, record, lead_hours, source)
        return found

    def observed(self, record: Record) -> dict[int, ObservationRecord]:
        """By lead, in hours: the newest observations that can lie beside a product."""
        product = self._shelves["model"].dataset(record)
        reference_time = parse_time(record.reference_time)
        newest = {
            int(lead): self._observations.newest(reference_time + lead * _HOUR)
            for lead in product["lead"].values
        }
        return {
            lead: one
            for lead, one in newest.items()
            if one is not None and _is_comparable(product, lead, one)
        }

    def catch_up(self, stopping: threading.Event) -> None:
        """``match_observation`` for every hour, newest first, until told to stop."""
        for valid_time in self._observations.times():
            if stopping.is_set():
                return
            self.match_observation(valid_time)

    def _compare(
        self, observation: ObservationRecord, record: Record, lead_hours: int, source: Source
    ) -> bool:
        """Whether the two can be compared; their counts are then in the ledger."""
        match = Match(
            valid_time=observation.time,
            reference_time=parse_time(record.reference_time),
            lead_hours=lead_hours,
            observation_revision=observation.revision,
            product_revision=record.revision,
        )
        with self._comparing:
            if self._is_done(match, record, source):
                return True
            product = self._shelves[source].dataset(record)
            if not _is_comparable(product, lead_hours, observation):
                _logger.warning(
                    "the observation of %s lies on another grid than the product of %s, or covers another "
                    "period: they are not compared",
                    observation.valid_time,
                    record.reference_time,
                )
                return False
            counts = count_lead(product, lead_hours, self._observations.rain_mm(observation))
            entries = [Entry(source, _model_name(record), counts["model"])]
            if source == "model":
                # The raw forecast is the same beside every model: it is counted once.
                entries.append(Entry("raw", str(product.attrs["nwp_model"]), counts["raw"]))
            self._ledger.record(match, entries)
        return True

    def _is_done(self, match: Match, record: Record, source: Source) -> bool:
        reference = int(match.reference_time.astype("datetime64[s]").astype(np.int64))
        known = self._ledger.revisions(match.valid_time).get((reference, source, _model_name(record)))
        return known == (match.observation_revision, match.product_revision)


def _products_at(store: Store, valid_time: np.datetime64) -> Iterator[tuple[Record, int]]:
    """Of every cycle and model the newest revision that has the lead which ends then."""
    for lead_hours in range(1, _LONGEST_LEAD_HOURS + 1):
        records = store.revisions(valid_time - lead_hours * _HOUR)
        with_lead = [record for record in records if lead_hours in record.origin.leads_hours]
        for record in {_model_name(record): record for record in with_lead}.values():
            yield record, lead_hours


def _model_name(record: Record) -> str:
    return record.origin.model.identity


def _is_comparable(product: xr.Dataset, lead_hours: int, observation: ObservationRecord) -> bool:
    start, end = product["time_bounds"].sel(lead=lead_hours).values
    if (end - start) != observation.precipitation_hours * _HOUR:
        return False
    grid = observation.grid
    return grid.shape == product["latitude"].shape and all(
        np.allclose(ours, product[name].values, rtol=0.0, atol=_SAME_POINT_DEGREES)
        for ours, name in zip(grid.latitude_longitude(), ("latitude", "longitude"), strict=True)
    )
