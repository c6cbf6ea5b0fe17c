"""One service and one browser for all tests of the page: both take a while to start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import xarray as xr
from playwright.sync_api import Browser, Page

from tests.service.page.sample_weather import DAMP, LAST, LATER, WET, WeatherFiles, write_weather
from tests.service.sample_browser import Tab, chromium, tab
from tests.service.sample_service import ServiceClient, running, submit
from tests.shipped_model import SHIPPED

LEADS_HOURS = (25, 26, 27, 28, 29, 30)


@dataclass(frozen=True)
class Forecasts:
    """A service with the shipped model and what it knows.

    wet: all leads, two revisions, the first with three leads, and observations of all hours but the last.
    damp: the newest cycle at first, two leads, no observation. later, last: not published at first.
    """

    client: ServiceClient
    wet: WeatherFiles
    damp: WeatherFiles
    later: WeatherFiles
    last: WeatherFiles

    @property
    def address(self) -> str:
        """Of the service."""
        return str(self.client.base_url)

    def publish(self, weather: WeatherFiles, leads_hours: tuple[int, ...]) -> None:
        """Let the service correct these leads."""
        answer = submit(self.client, weather.files(leads_hours), prefer="wait=300")
        assert answer.status_code == 200, answer.text

    def observe(self, weather: WeatherFiles, leads_hours: tuple[int, ...]) -> None:
        """Hand in the observations of these leads."""
        paths = [weather.observed[lead] for lead in leads_hours]
        files = [("files", (path.name, path.read_bytes())) for path in paths]
        answer = self.client.post("/observations", files=files)
        assert answer.is_success, answer.text

    def product(self, weather: WeatherFiles, folder: Path, revision: int | None = None) -> xr.Dataset:
        """A product as any client reads it."""
        query = {} if revision is None else {"revision": revision}
        answer = self.client.get(f"/cycles/{weather.name}/product", params=query)
        path = folder / "product.nc"
        path.write_bytes(answer.raise_for_status().content)
        with xr.open_dataset(path, engine="netcdf4") as dataset:
            return dataset.load()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Before the service, so that all is skipped at once where there is none."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="package")
def forecasts(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forecasts]:
    """The service, with two cycles."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "models").mkdir()
    (folder / "models" / SHIPPED.name).symlink_to(SHIPPED)
    weather = [
        write_weather(folder / "wet", WET, (24, *LEADS_HOURS)),
        *(write_weather(folder / str(time), time, (24, 25, 26)) for time in (DAMP, LATER, LAST)),
    ]
    with running(folder, minimum_leads=2, minimum_free_bytes=0, events_poll_seconds=0.05) as client:
        made = Forecasts(client, *weather)
        made.publish(made.wet, (25, 26, 27))
        made.publish(made.wet, LEADS_HOURS)
        made.observe(made.wet, LEADS_HOURS[:-1])
        made.publish(made.damp, (25, 26))
        yield made


@pytest.fixture
def desk(browser: Browser, forecasts: Forecasts) -> Iterator[Tab]:
    """A tab on a desktop screen."""
    with tab(browser, forecasts.address, viewport={"width": 1366, "height": 800}) as opened:
        yield opened


@pytest.fixture
def phone(browser: Browser, forecasts: Forecasts) -> Iterator[Tab]:
    """A tab on a phone."""
    with tab(
        browser, forecasts.address, viewport={"width": 375, "height": 760}, has_touch=True, is_mobile=True
    ) as opened:
        yield opened


@pytest.fixture
def wet_page(desk: Tab, forecasts: Forecasts) -> Page:
    """The wet cycle at lead 27."""
    return desk.open(f"/#cycle={forecasts.wet.name}&lead=27")
