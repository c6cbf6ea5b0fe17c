"""Dockerfile and docker-compose.yml, as far as they can be checked without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import service
from service.__main__ import _parser
from service.settings import Settings
from tests.service.sample_service import running

ROOT = Path(service.__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
PASSWORDS = {"POSTGRES_PASSWORD": "one", "GRAFANA_PASSWORD": "two"}


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def program(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.parametrize("profiles", [[], ["--profile", "gpu"]], ids=["cpu", "gpu"])
def test_compose_takes_its_file(profiles: list[str]) -> None:
    command = [program("docker-compose"), "--file", str(COMPOSE), *profiles, "config", "--format", "json"]
    done = subprocess.run(command, env=os.environ | PASSWORDS, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    found = set(json.loads(done.stdout)["services"])
    assert {"rainpost", "postgres", "prometheus", "alertmanager", "grafana"} <= found
    assert ("rainpost-gpu" in found) == bool(profiles)


def test_compose_asks_for_the_passwords() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in PASSWORDS}
    command = [program("docker-compose"), "--file", str(COMPOSE), "config"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    # The packaged program does not hand on its exit status.
    assert done.stdout == ""
    assert "choose a password" in done.stderr


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([program("hadolint"), DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", list(services()))
def test_services_are_pinned_checked_and_not_root(name: str) -> None:
    document = services()[name]
    assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", document["image"])
    assert document["healthcheck"]["test"][0] == "CMD"
    assert re.fullmatch(r"[1-9]\d*:\d+", document["user"])
    assert document["read_only"] is True
    assert document["cap_drop"] == ["ALL"]
    assert document["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "network_mode", "devices"} & set(document)
    assert all(port.startswith("127.0.0.1:") for port in document.get("ports", []))


def test_what_is_mounted_is_there() -> None:
    volumes = yaml.safe_load(COMPOSE.read_text())["volumes"]
    for document in services().values():
        for mount in document["volumes"]:
            source = mount.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in volumes


def test_the_settings_are_known() -> None:
    known = {setting.variable for setting in Settings.describe()}
    for name in ("rainpost", "rainpost-gpu"):
        assert set(services()[name]["environment"]) <= known
    set_there = set(re.findall(r"\b(RAINPOST_\w+)=", DOCKERFILE.read_text()))
    assert {"RAINPOST_HOST", "RAINPOST_PROVIDER"} <= set_there <= known


def test_image_and_composition_do_not_start_open_to_all() -> None:
    image = dict(re.findall(r"\b(RAINPOST_\w+)=(\S+)", DOCKERFILE.read_text()))
    assert (image["RAINPOST_HOST"], image["RAINPOST_ACCESS"]) == ("0.0.0.0", "protected")  # noqa: S104
    for name in ("rainpost", "rainpost-gpu"):
        environment = services()[name]["environment"]
        assert environment["RAINPOST_ACCESS"] == "protected"
        # Prometheus asks without a key.
        assert environment["RAINPOST_READING"] == "public"


def test_the_commands_at_the_head_of_the_composition_are_understood() -> None:
    (command,) = re.findall(
        r"^#   docker compose exec rainpost rainpost (.+)$", COMPOSE.read_text(), re.MULTILINE
    )
    options = _parser().parse_args(command.split())
    assert options.scope == ["submit", "observe"]


def test_prometheus_and_grafana_find_what_they_name() -> None:
    monitoring = ROOT / "service" / "monitoring"
    prometheus = yaml.safe_load((monitoring / "prometheus" / "prometheus.yml").read_text())
    assert prometheus["scrape_configs"][0]["static_configs"][0]["targets"] == ["rainpost:8000"]
    provisioning = monitoring / "grafana" / "provisioning"
    provider = yaml.safe_load((provisioning / "dashboards" / "rainpost.yml").read_text())["providers"][0]
    folders = [mount.split(":")[1] for mount in services()["grafana"]["volumes"]]
    assert provider["options"]["path"] in folders
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"


def test_the_image_holds_what_is_copied_and_runs_without_root() -> None:
    text = DOCKERFILE.read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, flags=re.MULTILINE):
        assert all((ROOT / part).exists() for part in line.split()[:-1]), line
    assert re.search(r"^USER 10001:10001$", text, flags=re.MULTILINE)
    assert re.findall(r"^FROM runtime AS (\w+)$", text, flags=re.MULTILINE) == ["gpu", "cpu"]
    assert set(re.findall(r'"\.\[([\w,]+)\]"', text)) == {"cpu,oidc,tracing", "gpu,oidc,tracing"}, (
        "neither training nor tests"
    )


def closure(name: str, extras: frozenset[str]) -> set[str]:
    """Names of the packages that a requirement brings, as far as they are installed here."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(canonicalize_name(name), extras)]
    while waiting:
        package, wanted = waiting.pop()
        if (package, wanted) in seen:
            continue
        seen.add((package, wanted))
        try:
            requirements = [Requirement(text) for text in requires(package) or []]
        except PackageNotFoundError:
            continue
        waiting += [
            (canonicalize_name(one.name), frozenset(one.extras))
            for one in requirements
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in {"", *wanted})
        ]
    return {str(package) for package, _ in seen}


def test_the_serving_image_has_no_torch() -> None:
    serving = closure("rainpost", frozenset({"cpu", "oidc", "tracing"}))
    assert {"onnxruntime", "dbos", "eccodes"} <= serving
    assert not {"torch", "onnxscript", "numba", "pytest"} & serving
    assert "torch" in closure("rainpost", frozenset({"training"})), "the search finds it where it is"


def test_the_health_check_of_both_files_works(tmp_path: Path) -> None:
    (line,) = re.findall(r'^ +CMD (\["python".+\])$', DOCKERFILE.read_text(), flags=re.MULTILINE)
    command = json.loads(line)
    assert services()["rainpost"]["healthcheck"]["test"] == ["CMD", *command]

    def check(port: int) -> int:
        script = command[2].replace(":8000/", f":{port}/")
        done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.DEVNULL, check=False)
        return done.returncode

    with running(tmp_path) as client:
        port = client.base_url.port
        assert port is not None
        assert check(port) == 0
    assert check(port) != 0
