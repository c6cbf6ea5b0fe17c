"""Work is done in threads other than that of the event loop, told by hooks, and no step there takes long."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service import app, assets, shelf, stages
from service.cycle_states import CycleStates
from service.explanations import Explanations
from service.inference import Inference
from service.observation_store import ObservationStore
from service.observing import Observing
from service.recent import Recent
from service.routes import edr, layers, page, products, system, wms, zarr_stores
from service.store import Store
from tests.service.sample_cycle import REFERENCE_TIME, write_cycle
from tests.service.sample_observation import sample_rain_mm, write_dfs
from tests.service.sample_service import ServiceClient, running, submit

LOOP = "server"
"""The thread that runs the event loop: see ``running``."""

MOST_CPU_SECONDS = 0.1
"""Of one step on the event loop. What is counted is the time on a processor, of the loop's thread alone: how
busy the machine is does not matter."""

HOOKS: tuple[tuple[Any, str], ...] = (
    (app, "get_openapi"),
    (Inference, "infer"),
    (stages, "write_cycle_product"),
    (Observing, "take"),
    (Store, "revisions"),
    (Store, "cycles"),
    (ObservationStore, "rain_mm"),
    (Explanations, "of"),
    (CycleStates, "recent"),
    (shelf, "_load"),
    (assets, "files"),
    (products, "render_lead"),
    (products, "geotiff"),
    (products, "grib_messages"),
    (products, "point"),
    (layers, "layers_document"),
    (layers, "pack_layer"),
    (layers, "pack_observations"),
    (layers, "map_lines"),
    (zarr_stores, "zarr_store"),
    (edr, "coverage_json"),
    (edr, "subset_netcdf"),
    (edr, "offer_of"),
    (edr, "collections_document"),
    (wms, "capabilities"),
    (wms, "draw_map"),
    (wms, "draw_legend"),
    (wms, "layer_values"),
    (page, "read_asset"),
    (system, "render_reference"),
    (system, "JSONResponse"),
    (system, "generate_latest"),
)

CYCLE = "/cycles/latest"
EDR = "/collections/precipitation"
MAP = (
    "/wms?SERVICE=WMS&VERSION=1.3.0&LAYERS=class&STYLES=&CRS=CRS:84&BBOX=125.5,37.5,126.5,38.5&WIDTH=64"
    "&HEIGHT=64&FORMAT=image/png&REQUEST="
)

REQUESTS = (
    (f"{CYCLE}/product?lead=2", "image/png"),
    (f"{CYCLE}/product?lead=2", "image/tiff"),
    (f"{CYCLE}/product", "application/wmo-GRIB2"),
    (f"{CYCLE}/product", "application/x-netcdf"),
    (f"{CYCLE}/product?lat=38&lon=126", "application/json"),
    (f"{CYCLE}/layers", "*/*"),
    (f"{CYCLE}/layers/class", "*/*"),
    (f"{CYCLE}/layers/observed", "*/*"),
    (f"{CYCLE}/map", "*/*"),
    (f"{CYCLE}/explanations", "*/*"),
    ("/cycles/2026-11-22T00Z/revisions/1.nc", "*/*"),
    ("/cycles/2026-11-22T00Z/revisions/1.zarr/zarr.json", "*/*"),
    ("/cycles", "*/*"),
    (EDR, "*/*"),
    ("/collections", "*/*"),
    (f"{EDR}/instances", "*/*"),
    (f"{EDR}/position?coords=POINT(126 38)", "*/*"),
    (f"{EDR}/cube?bbox=125.9,37.9,126.1,38.1&f=NetCDF", "*/*"),
    ("/wms?SERVICE=WMS&REQUEST=GetCapabilities", "*/*"),
    ("/wms?SERVICE=WMS&REQUEST=GetLegendGraphic&LAYER=class", "*/*"),
    (f"{MAP}GetMap", "*/*"),
    (f"{MAP}GetFeatureInfo&QUERY_LAYERS=class&I=32&J=32", "*/*"),
    ("/verification", "*/*"),
    ("/verification/history", "*/*"),
    ("/models", "*/*"),
    ("/readyz", "*/*"),
    ("/metrics", "*/*"),
    ("/version", "*/*"),
    ("/", "text/html"),
    ("/page/borders.json", "*/*"),
    ("/docs", "*/*"),
    ("/openapi.json", "*/*"),
)


def ask_for_everything(client: ServiceClient, folder: Path) -> None:
    assert submit(client, write_cycle(folder / "cycle")).is_success
    observed = write_dfs(folder, REFERENCE_TIME + 2 * 3600, sample_rain_mm(1))
    files = [("files", (observed.name, observed.read_bytes()))]
    assert client.post("/observations", files=files).is_success
    for path, accepted in REQUESTS:
        answer = client.get(path, headers={"Accept": accepted})
        assert answer.status_code == 200, f"{path}: {answer.text[:300]}"
        assert b"ServiceException" not in answer.content, path


REMEMBERED = (
    (edr, "_OFFERS"),
    (layers, "_PACKED"),
    (products, "_MADE"),
    (wms, "_MAPS"),
    (zarr_stores, "_STORES"),
)


@dataclass
class Work:
    """Of one service, from its start to its end.

    threads: that called what the hooks are at. longest: time on a processor of one step, in s, by thread.
    """

    threads: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    longest: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def noted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which notes its threads."""

        def call(*arguments: Any, **named: Any) -> Any:
            self.threads[name].add(threading.current_thread().name)
            return function(*arguments, **named)

        return call

    def timed(self, run: Callable[[asyncio.Handle], None]) -> Callable[[asyncio.Handle], None]:
        """The function that does a step of an event loop, which notes how long it takes."""

        def call(handle: asyncio.Handle) -> None:
            started = time.thread_time()
            run(handle)
            name = threading.current_thread().name
            self.longest[name] = max(self.longest[name], time.thread_time() - started)

        return call


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """A service that is asked for everything."""
    folder, work = tmp_path_factory.mktemp("service"), Work()
    assets.read_asset.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        # What other tests of this process asked for is not remembered.
        for module, name in REMEMBERED:
            patch.setattr(module, name, Recent(16))
        for place, name in HOOKS:
            patch.setattr(place, name, work.noted(name, getattr(place, name)))
        patch.setattr(asyncio.Handle, "_run", work.timed(asyncio.Handle._run))
        with running(folder) as client:
            # The first request builds what all go through.
            client.get("/livez")
            work.longest.clear()
            ask_for_everything(client, folder)
    return work


def test_no_work_is_done_on_the_event_loop(work: Work) -> None:
    assert {name for _, name in HOOKS} - work.threads.keys() == set()
    assert {name for name, found in work.threads.items() if LOOP in found} == set()


def test_no_step_on_the_event_loop_takes_long(work: Work) -> None:
    """Whatever it is: also what no hook knows of."""
    assert 0 < work.longest[LOOP] < MOST_CPU_SECONDS
