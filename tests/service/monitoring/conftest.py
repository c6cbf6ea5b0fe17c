"""A service with a shadow, a corrected cycle, an observation and a failed job, scraped by Prometheus all the
while.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from tests.service.monitoring.sample_prometheus import Prometheus, program, scraping
from tests.service.sample_artefact import write_artefact, write_other_artefact
from tests.service.sample_cycle import REFERENCE_TIME, write_cycle
from tests.service.sample_observation import sample_rain_mm, write_dfs
from tests.service.sample_receiver import addressed, receiving
from tests.service.sample_server import Server
from tests.service.sample_service import reach

HOUR = np.timedelta64(1, "h")


@dataclass(frozen=True)
class Monitored:
    """The service as a process of its own, and the Prometheus that scrapes it."""

    server: Server
    prometheus: Prometheus


@pytest.fixture(scope="session")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    """One for all tests, which only look."""
    program("prometheus")
    folder = tmp_path_factory.mktemp("monitored")
    write_artefact(folder / "models")
    write_other_artefact(folder / "models", version="0.2.0")
    server = Server(folder)
    server.settings |= {"RAINPOST_MODEL": "sample-0.1.0", "RAINPOST_SHADOW_MODEL": "sample-0.2.0"}
    try:
        with receiving() as receiver:
            addresses = addressed(receiver.url())
            server.settings |= {f"RAINPOST_{name.upper()}": value for name, value in addresses.items()}
            server.start()
            with scraping(server.port, folder / "prometheus") as prometheus:
                # Rates need what came before and after.
                prometheus.await_scrapes(1)
                _work(server)
                prometheus.await_scrapes(2)
                yield Monitored(server, prometheus)
    finally:
        server.process.kill()
        server.process.wait()
        server.client.close()


def _work(server: Server) -> None:
    paths = write_cycle(server.folder / "cycle")
    assert server.post(paths, "wait=60").status_code == 200
    assert server.post(paths[:1], "wait=60").status_code == 422, "it lacks leads"
    for hour in (2, 3):
        path = write_dfs(server.folder / "qpe", REFERENCE_TIME + hour * HOUR, sample_rain_mm(hour))
        answer = server.client.post("/observations", files=[("files", (path.name, path.read_bytes()))])
        assert answer.status_code == 201, answer.text
    run = 'rainpost_shadow_runs_total{outcome="succeeded",reason=""} 1.0'
    reach(lambda: run in server.client.get("/metrics").text)
