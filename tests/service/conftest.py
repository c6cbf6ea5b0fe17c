"""A running service for the tests of the HTTP interface."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.sample_postgresql import new_database, postgresql
from tests.service.sample_service import ServiceClient, running


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """URL of a PostgreSQL server; without one the test skips."""
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database, of both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite'}"
    return new_database(request.getfixturevalue("server"))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """The setting of a service that has an empty database, of both kinds."""
    if request.param == "sqlite":
        return {}
    return {"database_url": new_database(request.getfixturevalue("server"))}


@pytest.fixture(scope="module")
def service_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the module's service keeps ``data``, ``models`` and ``inbox``, the folder of references."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "inbox").mkdir()
    return folder


@pytest.fixture(scope="module")
def client(service_folder: Path) -> Iterator[ServiceClient]:
    """A service for the tests of one module, each of which takes cycles of its own."""
    with running(
        service_folder, input_folders=(service_folder / "inbox",), max_body_bytes=100_000, max_wait_seconds=60
    ) as client:
        yield client


@pytest.fixture
def kept_logging() -> Iterator[None]:
    """The handlers and level of the root logger as they were, after a test that changes them."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
