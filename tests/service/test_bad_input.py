"""Everything that can be wrong with a submission: a clear problem, no product, and the service goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.service.sample_cycle import (
    PRECIPITATION,
    REFERENCE_TIME,
    RELATIVE_HUMIDITY_850,
    TEMPERATURE_2M,
    Change,
    SampleField,
    replaced,
    write_cycle,
)
from tests.service.sample_service import ServiceClient, problem, submit

DAY_OF_THE_GOOD_CYCLE = REFERENCE_TIME + np.timedelta64(400, "D")


def refused(
    client: ServiceClient, good: list[Path], paths: list[Path], status: int, reason: str
) -> dict[str, Any]:
    """Submit and check what every refusal has in common; the problem document."""
    cycles = client.get("/cycles").json()
    document = problem(submit(client, paths), status, reason)
    job = client.get(document["instance"]).json()
    assert job["state"] == "failed"
    assert job["product"] is None
    assert job["problem"]["reason"] == reason
    assert client.get("/cycles").json() == cycles, "no product"
    assert submit(client, good).status_code == 200, "the next request is answered"
    return document


@pytest.fixture(scope="module")
def good(client: ServiceClient, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A cycle that the service corrects."""
    folder = tmp_path_factory.mktemp("good")
    paths = write_cycle(folder, replaced(reference_time=DAY_OF_THE_GOOD_CYCLE))
    assert submit(client, paths).status_code == 200
    return paths


def only(condition: Callable[[SampleField], bool], change: Change) -> Change:
    """The change for the fields that the condition holds for."""
    return lambda field: change(field) if condition(field) else field


def spoiled(value: float) -> Change:
    """A change of one value in the middle of the field, and so inside the window."""

    def change(field: SampleField) -> SampleField:
        values = field.values.copy()
        values[15, 15] = value
        return replace(field, values=values)

    return change


def test_a_truncated_file(client: ServiceClient, good: list[Path], tmp_path: Path) -> None:
    paths = write_cycle(tmp_path)
    paths[1].write_bytes(paths[1].read_bytes()[:-100])
    document = refused(client, good, paths, 422, "truncated-file")
    assert "sample_h002.gb2" in document["where"]


def test_another_forecast_model(client: ServiceClient, good: list[Path], tmp_path: Path) -> None:
    document = refused(client, good, write_cycle(tmp_path, replaced(centre=7)), 422, "wrong-source")
    assert "40" in document["expected"]
    assert "7" in document["got"]


def test_another_grid_than_the_models(client: ServiceClient, good: list[Path], tmp_path: Path) -> None:
    document = refused(client, good, write_cycle(tmp_path, replaced(spacing_m=4000.0)), 422, "wrong-grid")
    assert "4000" in document["got"]


def test_two_grids_in_one_cycle(client: ServiceClient, good: list[Path], tmp_path: Path) -> None:
    change = only(lambda field: field.lead_hours == 3, replaced(spacing_m=3001.0))
    refused(client, good, write_cycle(tmp_path, change), 422, "wrong-grid")


def test_a_grid_that_does_not_cover_the_target(
    client: ServiceClient, good: list[Path], tmp_path: Path
) -> None:
    def change(field: SampleField) -> SampleField:
        return replace(field, corner=(38.0, 126.0))

    refused(client, good, write_cycle(tmp_path, change), 422, "outside-grid")


def test_a_missing_lead(client: ServiceClient, good: list[Path], tmp_path: Path) -> None:
    paths = write_cycle(tmp_path)
    document = refused(client, good, paths[:2], 422, "missing-lead")
    assert "3" in document["where"] + document["expected"]


def test_a_missing_channel(client: ServiceClient, good: list[Path], tmp_path: Path) -> None:
    change = only(lambda field: (field.field, field.lead_hours) == (RELATIVE_HUMIDITY_850, 3), lambda _: None)
    document = refused(client, good, write_cycle(tmp_path, change), 422, "missing-channel")
    assert "relative_humidity_850hpa" in str(document)
    assert "3" in document["where"]


def test_the_accumulation_before_the_first_lead(
    client: ServiceClient, good: list[Path], tmp_path: Path
) -> None:
    change = only(lambda field: (field.field, field.lead_hours) == (PRECIPITATION, 1), lambda _: None)
    document = refused(client, good, write_cycle(tmp_path, change), 422, "missing-channel")
    assert "precipitation_1h" in str(document)


def test_a_hole_inside_the_window(client: ServiceClient, good: list[Path], tmp_path: Path) -> None:
    change = only(lambda field: (field.field, field.lead_hours) == (TEMPERATURE_2M, 2), spoiled(np.nan))
    document = refused(client, good, write_cycle(tmp_path, change), 422, "missing-values")
    assert "sample_h002.gb2" in document["where"]


def test_a_value_that_no_atmosphere_has(client: ServiceClient, good: list[Path], tmp_path: Path) -> None:
    change = only(lambda field: (field.field, field.lead_hours) == (TEMPERATURE_2M, 2), spoiled(9999.0))
    document = refused(client, good, write_cycle(tmp_path, change), 422, "physical-limit")
    assert "sample_h002.gb2" in document["where"]


def test_two_cycles_mixed(client: ServiceClient, good: list[Path], tmp_path: Path) -> None:
    later = REFERENCE_TIME + np.timedelta64(6, "h")
    change = only(lambda field: field.lead_hours == 3, replaced(reference_time=later))
    document = refused(client, good, write_cycle(tmp_path, change), 422, "mixed-cycles")
    assert "2026-11-22T06" in str(document)


@pytest.mark.parametrize("content", [b"PK\x03\x04 a letter", b"\0" * 5000, b"G", "한글".encode()])
def test_not_grib_at_all(client: ServiceClient, good: list[Path], tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "letter.docx"
    path.write_bytes(content)
    document = refused(client, good, [path], 415, "unrecognised-format")
    assert "letter.docx" in document["where"]


def test_an_empty_body(client: ServiceClient, good: list[Path]) -> None:
    for headers in ({}, {"Content-Type": "application/octet-stream"}):
        problem(client.post("/correct", headers=headers), 400, "empty-input")
    problem(client.post("/correct", files=[("files", ("empty.gb2", b""))]), 400, "empty-input")
    problem(client.post("/correct", json={"inputs": []}), 400, "empty-input")
    assert submit(client, good).status_code == 200


def test_a_failed_job_keeps_its_uploads_and_nothing_else(client: ServiceClient, tmp_path: Path) -> None:
    paths = write_cycle(tmp_path, replaced(centre=98))
    document = problem(submit(client, paths), 422, "wrong-source")
    folder = client.runtime.settings.data_folder / "work" / document["instance"].removeprefix("/")
    kept = sorted(path.name for path in folder.rglob("*") if path.is_file())
    assert kept == [path.name for path in paths]


def test_a_bad_submission_sent_again_is_the_same_job(client: ServiceClient, tmp_path: Path) -> None:
    paths = write_cycle(tmp_path, replaced(centre=97))
    first = problem(submit(client, paths), 422, "wrong-source")
    before = client.get(first["instance"]).json()
    assert problem(submit(client, paths), 422, "wrong-source") == first
    assert client.get(first["instance"]).json() == before
