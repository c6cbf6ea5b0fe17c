"""Scores out: ``GET /verification``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query

from service.errors import RequestError
from service.ledger import Selection
from service.routes.state import Service, problem_responses
from service.runtime import Runtime
from service.times import iso_time, parse_time
from service.verification_counts import Source
from service.verification_documents import (
    VerificationDocument,
    VerificationHistoryDocument,
    history_document,
    verification_document,
)

router = APIRouter(tags=["verification"])


@router.get(
    "/verification",
    summary="Scores of the model, of the raw forecast, and of a shadow model",
    responses=problem_responses(400, 422, 500, 503),
)
async def verification(
    service: Service,
    after: Annotated[
        str | None, Query(alias="from", description="Start of the span, UTC; open where not given.")
    ] = None,
    until: Annotated[
        str | None, Query(alias="to", description="End of the span, UTC; open where not given.")
    ] = None,
    threshold: Annotated[float | None, Query(description="One threshold, in mm.")] = None,
    lead: Annotated[int | None, Query(description="One lead, in hours.")] = None,
    source: Annotated[Source | None, Query(description="The model, the raw forecast, or the shadow.")] = None,
    cycle: Annotated[str | None, Query(description="Reference time of one cycle.")] = None,
) -> VerificationDocument:
    """Counts, and the scores that follow from them, of all periods that lie between `from` and `to`.

    A row holds one source, model and threshold at one lead; rows without a lead hold all leads together.
    Scores that are not defined, for want of events, are null.
    """
    selection = Selection(
        after=None if after is None else parse_time(after, where="from"),
        until=None if until is None else parse_time(until, where="to"),
        threshold_mm=threshold,
        lead_hours=lead,
        source=source,
        reference_time=None if cycle is None else parse_time(cycle, where="cycle"),
    )
    if selection.after is not None and selection.until is not None and selection.after >= selection.until:
        raise RequestError(
            "the span is empty",
            where="from, to",
            expected="an instant, and a later one",
            got=f"{iso_time(selection.after)}, {iso_time(selection.until)}",
        )

    def add_up() -> VerificationDocument:
        _refuse_unknown(service, selection)
        return verification_document(selection, service.ledger.sums(selection, reliability=True))

    return await asyncio.to_thread(add_up)


@router.get(
    "/verification/history",
    summary="Scores over time, of the model, of the raw forecast, and of a shadow model",
    responses=problem_responses(400, 422, 500, 503),
)
async def history(
    service: Service,
    span_hours: Annotated[int, Query(ge=1, le=24 * 366, description="Length of a span, in hours.")] = 24,
    threshold: Annotated[float | None, Query(description="One threshold, in mm.")] = None,
    lead: Annotated[int | None, Query(description="One lead, in hours; all together by default.")] = None,
) -> VerificationHistoryDocument:
    """A row for every source, model and threshold in every span of time in which anything was compared."""
    selection = Selection(threshold_mm=threshold, lead_hours=lead)

    def add_up() -> VerificationHistoryDocument:
        _refuse_unknown(service, selection)
        return history_document(
            span_hours, service.ledger.history(selection, np.timedelta64(span_hours, "h"))
        )

    return await asyncio.to_thread(add_up)


def _refuse_unknown(service: Runtime, selection: Selection) -> None:
    """A threshold or lead that neither the model nor the ledger has is a mistake, not a lack of data."""
    manifest = service.inference.artefact.manifest
    totals = service.ledger.totals()
    for name, wanted, ours, counted in (
        ("threshold", selection.threshold_mm, manifest.thresholds_mm, {one.threshold_mm for one in totals}),
        ("lead", selection.lead_hours, manifest.cycle.leads_hours, {one.lead_hours for one in totals}),
    ):
        known = sorted({*ours, *counted} - {None})
        if wanted is not None and wanted not in known:
            raise RequestError(
                f"no such {name}",
                where=name,
                expected=f"one of {', '.join(f'{value:g}' for value in known)}",
                got=str(wanted)[:40],
            )
