"""A real Prometheus that scrapes a real service, where the machine has one installed."""

from __future__ import annotations

import contextlib
import math
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

import service.monitoring
from tests.service.sample_service import reach

MONITORING: Final = Path(service.monitoring.__file__).parent
CONFIGURATION: Final = MONITORING / "prometheus" / "prometheus.yml"
ALERTS: Final = MONITORING / "prometheus" / "alerts.yml"
ALERTMANAGER: Final = MONITORING / "alertmanager" / "alertmanager.yml"

Labels = dict[str, str]


def program(name: str) -> str:
    """Path of a program of Debian's packages prometheus and prometheus-alertmanager; skips without it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


class Prometheus(httpx.Client):
    """A client of the HTTP interface."""

    def query(self, expression: str) -> list[tuple[Labels, float]]:
        """Labels and value of each element of an instant vector, or of a scalar without labels."""
        data = self.data("/api/v1/query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(element["metric"], float(element["value"][1])) for element in data["result"]]

    def value(self, expression: str) -> float:
        """The one value of an expression."""
        ((_, value),) = self.query(expression)
        return value

    def data(self, path: str, **parameters: str) -> Any:
        """What the interface answers, which must not be an error."""
        answer = self.get(path, params=parameters)
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        return answer.json()["data"]

    def scraped(self) -> float:
        """How often the service was scraped with success so far."""
        return math.fsum(value for _, value in self.query('sum_over_time(up{job="rainpost"}[1h])'))

    def await_scrapes(self, more: int) -> None:
        """Wait until there were so many more scrapes."""
        goal = self.scraped() + more
        reach(lambda: self.scraped() >= goal)


@contextlib.contextmanager
def scraping(port: int, folder: Path) -> Iterator[Prometheus]:
    """Prometheus with the shipped configuration and rules, at short intervals, of the service at a port."""
    executable = program("prometheus")
    folder.mkdir()
    configuration = yaml.safe_load(CONFIGURATION.read_text())
    configuration["global"] = {"scrape_interval": "5s", "evaluation_interval": "1s"}
    configuration["alerting"] = {}
    (scrape,) = configuration["scrape_configs"]
    scrape["scrape_timeout"] = "5s"
    scrape["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    shutil.copy(ALERTS, folder)
    own_port = _free_port()
    arguments = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{own_port}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([executable, *arguments], stdout=log, stderr=log, cwd=folder)
    try:
        with Prometheus(base_url=f"http://127.0.0.1:{own_port}", timeout=60) as client:
            reach(lambda: process.poll() is not None or _is_ready(client))
            assert process.poll() is None, (folder / "log").read_text()
            yield client
    finally:
        process.terminate()
        process.wait(timeout=60)


def _is_ready(client: Prometheus) -> bool:
    try:
        return client.get("/-/ready").is_success
    except httpx.TransportError:
        time.sleep(0.1)
        return False


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
