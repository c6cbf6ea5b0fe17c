"""Work is done in threads other than that of the event loop, told by hooks and not by time."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service import app, stages
from service.inference import Inference
from service.routes import layers, products, wms, zarr_stores
from tests.service.sample_cycle import write_cycle
from tests.service.sample_service import running, submit

LOOP = "server"
"""The thread that runs the event loop: see ``running``."""

HOOKS: tuple[tuple[Any, str], ...] = (
    (app, "get_openapi"),
    (Inference, "infer"),
    (stages, "write_cycle_product"),
    (products, "render_lead"),
    (products, "geotiff"),
    (products, "grib_messages"),
    (products, "point"),
    (layers, "pack_layer"),
    (zarr_stores, "zarr_store"),
    (wms, "capabilities"),
)

REQUESTS = (
    ("product?lead=2", "image/png"),
    ("product?lead=2", "image/tiff"),
    ("product", "application/wmo-GRIB2"),
    ("product?lat=38&lon=126", "application/json"),
    ("layers/class", "*/*"),
)


def test_no_work_is_done_on_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: dict[str, set[str]] = defaultdict(set)

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            threads[name].add(threading.current_thread().name)
            return function(*arguments, **named)

        return call

    for place, name in HOOKS:
        monkeypatch.setattr(place, name, noted(name, getattr(place, name)))
    with running(tmp_path) as client:
        assert threads["get_openapi"], "made at the start"
        assert submit(client, write_cycle(tmp_path / "cycle")).is_success
        for path, accepted in REQUESTS:
            answer = client.get(f"/cycles/latest/{path}", headers={"Accept": accepted})
            assert answer.is_success, answer.text
        assert client.get("/wms?SERVICE=WMS&REQUEST=GetCapabilities").is_success
        assert client.get("/cycles/2026-11-22T00Z/revisions/1/product.zarr/zarr.json").status_code in {
            200,
            404,
        }
        assert client.get("/openapi.json").is_success
    # The middle of the store is asked for by another test; here it only must not run on the loop.
    assert threads.keys() >= {name for _, name in HOOKS} - {"zarr_store"}
    assert {name for name, found in threads.items() if LOOP in found} == set()
