"""Layers of a product for a map: ``/cycles/{reference_time}/layers`` and ``/cycles/{reference_time}/map``."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from service.errors import NotFound
from service.layer_documents import LayersDocument, layers_document
from service.layers import OBSERVED_LAYER, find_layer, pack_layer, pack_observations
from service.map_lines import map_lines
from service.observation_store import ObservationRecord
from service.product_coordinates import product_grid
from service.recent import Recent
from service.representations import FOR_EVER, REVALIDATE, Body, Representation
from service.routes.cycles import ReferenceTime, find_record
from service.routes.state import Service, problem_responses
from service.runtime import Runtime
from service.store import Record
from service.versions import rainpost_version

router = APIRouter(prefix="/cycles", tags=["cycles"])

_OCTETS: Final = "application/octet-stream"
_JSON: Final = "application/json"

Revision = Annotated[int | None, Query(ge=1, description="The newest by default.")]
Digest = Annotated[
    str | None,
    Query(description="That of the product: the answer is then the same for ever, and says so to caches."),
]


_PACKED: Final = Recent[str, Body](64)
"""By ETag; a product of the window of 224 x 128 cells has 0.5 MB in all."""


@router.get(
    "/{reference_time}/layers",
    summary="What a map of the product can show",
    response_model=LayersDocument,
    responses=problem_responses(400, 404, 422),
)
async def layers(
    reference_time: ReferenceTime, request: Request, service: Service, revision: Revision = None
) -> Response:
    """Leads, thresholds and training of a revision; where its layers are, and how they are packed."""

    def make() -> Response:
        record = find_record(service.store, reference_time, revision)
        observed = service.verification.observed(record)
        etag = f'"{record.sha256}-layers-{_tag(observed)}"'

        def write() -> Body:
            document = layers_document(record, service.shelf.dataset(record), observed)
            return Body(document.model_dump_json().encode())

        return Representation(etag, _JSON).answer(request, write)

    return await asyncio.to_thread(make)


@router.get(
    "/{reference_time}/layers/{layer}",
    summary="One layer of a product, all leads",
    response_class=Response,
    responses={
        200: {"description": "The layer", "content": {_OCTETS: {}}},
        304: {"description": "The client has it already"},
        **problem_responses(400, 404, 422),
    },
)
async def layer(
    reference_time: ReferenceTime,
    layer: str,
    request: Request,
    service: Service,
    revision: Revision = None,
    sha256: Digest = None,
) -> Response:
    """Integers (lead, row, column), packed as `/cycles/{reference_time}/layers` says.

    `observed` is the observed rain of every lead's hour on the grid of the product, as far as there is any.
    """

    def make() -> Response:
        record = _record(service, reference_time, revision, sha256)
        dataset = service.shelf.dataset(record)
        found = find_layer(dataset, layer)
        observed = service.verification.observed(record) if found.name == OBSERVED_LAYER else {}
        tag = f"-{_tag(observed)}" if found.name == OBSERVED_LAYER else ""
        etag = f'"{record.sha256}-{found.name}{tag}"'
        forever = sha256 is not None and found.name != OBSERVED_LAYER
        caching = FOR_EVER if forever else REVALIDATE

        def pack() -> Body:
            if found.name != OBSERVED_LAYER:
                return Body(pack_layer(dataset, found))
            fields = [
                service.observations.rain_mm(observed[lead]) if lead in observed else None
                for lead in dataset["lead"].values.tolist()
            ]
            return Body(pack_observations(fields, (dataset.sizes["y"], dataset.sizes["x"])))

        return Representation(etag, _OCTETS, caching).answer(request, lambda: _PACKED.get(etag, pack))

    return await asyncio.to_thread(make)


@router.get(
    "/{reference_time}/map",
    summary="Coasts, borders, places and a graticule on the grid of the product",
    response_class=Response,
    responses={200: {"description": "Lines", "content": {_JSON: {}}}, **problem_responses(400, 404, 422)},
)
async def lines(
    reference_time: ReferenceTime,
    request: Request,
    service: Service,
    revision: Revision = None,
    sha256: Digest = None,
) -> Response:
    """Lines as column, row, column, row ... of the product's grid: to be drawn without any projection."""

    def make() -> Response:
        record = _record(service, reference_time, revision, sha256)
        caching = REVALIDATE if sha256 is None else FOR_EVER
        grid = product_grid(service.shelf.dataset(record))
        etag = f'"{grid.digest}-{rainpost_version()}"'

        def draw() -> Body:
            return _PACKED.get(etag, lambda: Body(json.dumps(map_lines(grid)).encode()))

        return Representation(etag, _JSON, caching).answer(request, draw)

    return await asyncio.to_thread(make)


def _record(service: Runtime, reference_time: str, revision: int | None, sha256: str | None) -> Record:
    record = find_record(service.store, reference_time, revision)
    if sha256 is not None and sha256 != record.sha256:
        raise NotFound(
            "the revision is another one by now", where="sha256", expected=record.sha256, got=sha256[:80]
        )
    return record


def _tag(observed: Mapping[int, ObservationRecord]) -> str:
    """Changes with the observations."""
    text = " ".join(f"{lead}:{one.sha256}:{one.revision}" for lead, one in sorted(observed.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
