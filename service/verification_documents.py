"""The JSON documents about observations and about scores against them."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from service.contingency import SCORES
from service.documents import product_path
from service.ledger import Selection
from service.observing import TakenObservation
from service.times import iso_time
from service.verification_counts import RELIABILITY_BINS, ReliabilityBin, Source, Sum, pooled


class MatchedProductDocument(BaseModel):
    """A product that an observation was compared with."""

    reference_time: str
    revision: int
    lead_hours: int
    product: str


class ObservationDocument(BaseModel):
    """A stored observation. name, sha256 and size_bytes are those of the file."""

    valid_time: str = Field(description="End of the period, UTC.")
    revision: int
    new: bool = Field(description="Whether it was not stored before.")
    name: str
    sha256: str
    size_bytes: int
    observed_cells: int = Field(description="Cells of the window that have a value.")
    products: tuple[MatchedProductDocument, ...] = Field(
        description="Those that the newest observation of this hour is compared with."
    )


class ObservationsDocument(BaseModel):
    """What became of the files, in their order."""

    observations: tuple[ObservationDocument, ...]


class ReliabilityBinDocument(BaseModel):
    """Forecasts of about one probability, and how often the event came."""

    lower: float
    upper: float
    forecasts: int
    mean_probability: float
    observed_frequency: float


class VerificationRow(BaseModel):
    """Counts and scores of one source at one threshold. Scores that are not defined are null."""

    source: Source
    model: str = Field(description="Name and version of the model, or name of the raw forecast.")
    threshold_mm: float
    lead_hours: int | None = Field(description="Null: all leads together.")
    matches: int = Field(description="Leads of products that were compared with an observation.")
    hits: int
    misses: int
    false_alarms: int
    correct_negatives: int
    critical_success_index: float | None
    probability_of_detection: float | None
    false_alarm_ratio: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    frequency_bias: float | None
    brier_score: float | None
    reliability: tuple[ReliabilityBinDocument, ...]


class VerificationDocument(BaseModel):
    """Scores of the periods between two instants; null where that end is open."""

    model_config = ConfigDict(populate_by_name=True)

    after: str | None = Field(alias="from")
    until: str | None = Field(alias="to")
    scores: tuple[VerificationRow, ...]


class VerificationSpan(VerificationRow):
    """Counts and scores of the periods between two instants."""

    model_config = ConfigDict(populate_by_name=True)

    after: str = Field(alias="from")
    until: str = Field(alias="to")


class VerificationHistoryDocument(BaseModel):
    """Scores over time: spans of equal length in which anything was compared, oldest first."""

    span_hours: int
    scores: tuple[VerificationSpan, ...]


def observation_document(taken: TakenObservation) -> ObservationDocument:
    """An observation as it is shown."""
    record = taken.record
    return ObservationDocument(
        valid_time=record.valid_time,
        revision=record.revision,
        new=taken.new,
        name=record.name,
        sha256=record.sha256,
        size_bytes=record.size_bytes,
        observed_cells=record.observed_cells,
        products=tuple(
            MatchedProductDocument(
                reference_time=one.record.reference_time,
                revision=one.record.revision,
                lead_hours=one.lead_hours,
                product=product_path(one.record.reference_time, one.record.revision),
            )
            for one in taken.matched
        ),
    )


def verification_document(selection: Selection, sums: list[Sum]) -> VerificationDocument:
    """Scores as they are shown: all leads together first, then each."""
    rows = sums if selection.lead_hours is not None else [*pooled(sums), *sums]
    return VerificationDocument(
        after=None if selection.after is None else iso_time(selection.after),
        until=None if selection.until is None else iso_time(selection.until),
        scores=tuple(_verification_row(one) for one in rows),
    )


def history_document(
    span_hours: int, history: list[tuple[np.datetime64, Sum]]
) -> VerificationHistoryDocument:
    """Scores over time as they are shown."""
    span = np.timedelta64(span_hours, "h")
    return VerificationHistoryDocument(
        span_hours=span_hours,
        scores=tuple(
            VerificationSpan(
                after=iso_time(start), until=iso_time(start + span), **_verification_row(one).model_dump()
            )
            for start, one in history
        ),
    )


def _verification_row(one: Sum) -> VerificationRow:
    scores = {name: function(one.contingency) for name, function in SCORES.items()}
    return VerificationRow.model_validate(
        {
            "source": one.source,
            "model": one.model,
            "threshold_mm": one.threshold_mm,
            "lead_hours": one.lead_hours,
            "matches": one.matches,
            **asdict(one.contingency),
            **scores,
            "brier_score": one.brier_score,
            "reliability": [_reliability_document(part) for part in one.reliability],
        }
    )


def _reliability_document(part: ReliabilityBin) -> ReliabilityBinDocument:
    return ReliabilityBinDocument(
        lower=part.number / RELIABILITY_BINS,
        upper=(part.number + 1) / RELIABILITY_BINS,
        forecasts=part.forecasts,
        mean_probability=part.probability_sum / part.forecasts,
        observed_frequency=part.events / part.forecasts,
    )
