"""Observations and scores over HTTP, from a cycle to its counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_observation import SHAPE, dfs_name, dfs_text, sample_rain_mm, window_of, write_dfs
from tests.service.sample_service import ServiceClient, problem, submit

DAY = np.timedelta64(1, "D")
HOUR = np.timedelta64(1, "h")


def publish(client: ServiceClient, folder: Path, day: int, scale: float = 1.0) -> xr.Dataset:
    """The product of a cycle so many days after the sample's, through the service."""
    time = REFERENCE_TIME + day * DAY
    answer = submit(client, write_cycle(folder / f"{day}-{scale}", replaced(reference_time=time), scale))
    assert answer.status_code == 200, answer.text
    path = folder / f"{day}-{scale}.nc"
    path.write_bytes(answer.content)
    with xr.open_dataset(path, engine="netcdf4") as dataset:
        return dataset.load()


def post(client: ServiceClient, paths: Sequence[Path], **parameters: str) -> httpx.Response:
    files = [("files", (path.name, path.read_bytes())) for path in paths]
    return client.post("/observations", files=files, params=parameters)


def scores(client: ServiceClient, day: int, **parameters: Any) -> list[dict[str, Any]]:
    """Rows of the hours of one day."""
    start = REFERENCE_TIME + day * DAY
    answer = client.get("/verification", params={"from": f"{start}Z", "to": f"{start + DAY}Z"} | parameters)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["scores"]
    return rows


def row(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (found,) = [one for one in rows if all(one[name] == value for name, value in wanted.items())]
    return found


def counted(
    product: xr.Dataset, leads: dict[int, NDArray[np.float64]], threshold: int
) -> dict[str, Counter[str]]:
    """Outcomes by source, cell by cell, with what is written in the product and nothing of the service."""
    amount = (0.1, 10.0)[threshold]
    outcomes: dict[str, Counter[str]] = {"model": Counter(), "raw": Counter()}
    for lead, values in leads.items():
        here = product.sel(lead=lead)
        rain = window_of(values)
        for y, x in np.ndindex(rain.shape):
            if np.isnan(rain[y, x]):
                continue
            event = rain[y, x] >= amount
            calls = {
                "model": int(here["most_likely_class"].values[y, x]) > threshold,
                "raw": float(here["lwe_thickness_of_precipitation_amount"].values[y, x]) >= amount,
            }
            for source, called in calls.items():
                names = {
                    (1, 1): "hits",
                    (0, 1): "misses",
                    (1, 0): "false_alarms",
                    (0, 0): "correct_negatives",
                }
                outcomes[source][names[bool(called), bool(event)]] += 1
    return outcomes


def test_counts_are_those_made_by_hand(client: ServiceClient, tmp_path: Path) -> None:
    product = publish(client, tmp_path, 1)
    leads = {lead: sample_rain_mm(lead) for lead in (2, 3)}
    start = REFERENCE_TIME + DAY
    paths = [write_dfs(tmp_path, start + lead * HOUR, values) for lead, values in leads.items()]
    answer = post(client, paths)
    assert answer.status_code == 201, answer.text
    first, second = answer.json()["observations"]
    assert (first["valid_time"], second["valid_time"]) == (f"{start + 2 * HOUR}Z", f"{start + 3 * HOUR}Z")
    assert first["products"] == [
        {
            "reference_time": f"{start}Z",
            "revision": 1,
            "lead_hours": 2,
            "product": f"/cycles/{start}Z/product?revision=1",
        }
    ]
    assert first["observed_cells"] == int((~np.isnan(window_of(leads[2]))).sum()) < 48
    rows = scores(client, 1)
    assert len(rows) == 2 * 2 * 3, "two sources, two thresholds, two leads and both together"
    for threshold, amount in enumerate((0.1, 10.0)):
        expected = counted(product, leads, threshold)
        for source, model in (("model", "sample-0.1.0"), ("raw", "sample")):
            found = row(rows, source=source, threshold_mm=amount, lead_hours=None)
            outcomes = expected[source]
            assert {name: found[name] for name in outcomes} == dict(outcomes)
            assert (found["model"], found["matches"]) == (model, 2)
            events = outcomes["hits"] + outcomes["misses"]
            assert found["recall"] == found["probability_of_detection"] == outcomes["hits"] / events
    single = counted(product, {3: leads[3]}, 0)["raw"]
    found = row(scores(client, 1, lead=3, threshold=0.1, source="raw"), source="raw")
    assert {name: found[name] for name in single} == dict(single)


def test_a_brier_score_and_reliability_made_by_hand(client: ServiceClient, tmp_path: Path) -> None:
    product = publish(client, tmp_path, 2)
    values = sample_rain_mm(5)
    post(client, [write_dfs(tmp_path, REFERENCE_TIME + 2 * DAY + 2 * HOUR, values)])
    found = row(scores(client, 2, lead=2, threshold=0.1, source="model"), source="model")
    here = product.sel(lead=2)["class_probability"].values.astype(float)
    rain, chance = window_of(values), here[1] + here[2]
    seen = ~np.isnan(rain)
    events = (rain >= 0.1)[seen]
    assert found["brier_score"] == pytest.approx(np.mean((chance[seen] - events) ** 2), abs=1e-6)
    bins = found["reliability"]
    assert sum(one["forecasts"] for one in bins) == seen.sum()
    assert sum(one["forecasts"] * one["observed_frequency"] for one in bins) == pytest.approx(events.sum())
    assert all(one["lower"] <= one["mean_probability"] <= one["upper"] for one in bins)


def test_a_revised_observation_replaces_its_counts(client: ServiceClient, tmp_path: Path) -> None:
    product = publish(client, tmp_path, 3)
    time = REFERENCE_TIME + 3 * DAY + 2 * HOUR
    assert post(client, [write_dfs(tmp_path, time, sample_rain_mm(1))]).status_code == 201
    before = scores(client, 3)
    again = post(client, [write_dfs(tmp_path, time, sample_rain_mm(1))])
    assert again.status_code == 200
    assert again.json()["observations"][0]["new"] is False
    assert scores(client, 3) == before, "the same file changes nothing"
    revised = sample_rain_mm(2)
    answer = post(client, [write_dfs(tmp_path, time, revised)])
    assert (answer.status_code, answer.json()["observations"][0]["revision"]) == (201, 2)
    found = row(scores(client, 3), source="raw", threshold_mm=0.1, lead_hours=None)
    outcomes = counted(product, {2: revised}, 0)["raw"]
    assert {name: found[name] for name in outcomes} == dict(outcomes)
    assert found["matches"] == 1


def test_a_product_after_its_observation_is_counted_and_a_revision_replaces_it(
    client: ServiceClient, tmp_path: Path
) -> None:
    values = sample_rain_mm(9)
    answer = post(client, [write_dfs(tmp_path, REFERENCE_TIME + 4 * DAY + 3 * HOUR, values)])
    assert answer.json()["observations"][0]["products"] == []
    assert scores(client, 4) == []
    for scale in (1.0, 0.01):
        product = publish(client, tmp_path, 4, scale)
        found = row(scores(client, 4), source="raw", threshold_mm=0.1, lead_hours=3)
        outcomes = counted(product, {3: values}, 0)["raw"]
        assert {name: found[name] for name in outcomes} == dict(outcomes)
        assert found["matches"] == 1


def test_a_product_stays_published_whatever_becomes_of_its_verification(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    post(client, [write_dfs(tmp_path, REFERENCE_TIME + 8 * DAY + 3 * HOUR, sample_rain_mm(9))])
    with monkeypatch.context() as patch:
        patch.setattr(client.runtime.ledger, "record", fail)
        publish(client, tmp_path, 8)
    assert "could not be compared with observations" in caplog.text
    assert scores(client, 8) == []
    post(client, [write_dfs(tmp_path, REFERENCE_TIME + 8 * DAY + 3 * HOUR, sample_rain_mm(9))])
    assert scores(client, 8), "the same observation again makes up for it"


def test_dry_hours_of_equal_bytes_are_several_hours(client: ServiceClient, tmp_path: Path) -> None:
    publish(client, tmp_path, 5)
    start = REFERENCE_TIME + 5 * DAY
    dry = [write_dfs(tmp_path, start + lead * HOUR, np.zeros(SHAPE)) for lead in (2, 3)]
    assert len(post(client, dry).json()["observations"]) == 2
    found = row(scores(client, 5), source="model", threshold_mm=10.0, lead_hours=None)
    assert found["matches"] == 2
    assert (found["hits"], found["misses"]) == (0, 0)
    assert found["recall"] is None, "there was no event to detect"


def test_a_body_with_a_declared_time(client: ServiceClient, tmp_path: Path) -> None:
    time = f"{REFERENCE_TIME + 6 * DAY}Z"
    text = dfs_text(sample_rain_mm(1))
    answer = client.post("/observations", content=text, params={"valid_time": time})
    assert answer.status_code == 201, answer.text
    assert answer.json()["observations"][0]["valid_time"] == time
    document = problem(client.post("/observations", content=text), 422, "wrong-period")
    assert "KST" in document["expected"]
    misnamed = write_dfs(tmp_path, REFERENCE_TIME, sample_rain_mm(1))
    document = problem(post(client, [misnamed], valid_time=time), 422, "wrong-period")
    assert document["got"] == f"{REFERENCE_TIME}Z"
    other = write_dfs(tmp_path, REFERENCE_TIME + HOUR, sample_rain_mm(1))
    problem(post(client, [misnamed, other], valid_time=time), 400, "bad-request")


def test_one_bad_file_keeps_out_the_others(client: ServiceClient, tmp_path: Path) -> None:
    good = write_dfs(tmp_path, REFERENCE_TIME + 7 * DAY, sample_rain_mm(1))
    bad = tmp_path / dfs_name(REFERENCE_TIME + 7 * DAY + HOUR)
    bad.write_text("1.00, 2.00\n")
    document = problem(post(client, [good, bad]), 422, "truncated-file")
    assert bad.name in document["where"]
    assert post(client, [good]).json()["observations"][0]["new"] is True
    assert not list((client.runtime.settings.data_folder / "work" / "uploads").iterdir())


@pytest.mark.parametrize(
    ("parameters", "where"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-11-22"}, "to"),
        ({"from": "2026-11-22T06Z", "to": "2026-11-22T06Z"}, "from, to"),
        ({"threshold": "0.2"}, "threshold"),
        ({"threshold": "much"}, "query threshold"),
        ({"lead": "7"}, "lead"),
        ({"source": "radar"}, "query source"),
        ({"cycle": "today"}, "cycle"),
    ],
)
def test_bad_parameters_are_named(client: ServiceClient, parameters: dict[str, str], where: str) -> None:
    assert problem(client.get("/verification", params=parameters), 400, "bad-request")["where"] == where


def test_the_history_adds_up_to_the_scores(client: ServiceClient, tmp_path: Path) -> None:
    day = 15
    time = REFERENCE_TIME + day * DAY
    publish(client, tmp_path, day)
    values = {lead: sample_rain_mm(lead) for lead in (2, 3)}
    paths = [write_dfs(tmp_path / "qpe", time + lead * HOUR, field) for lead, field in values.items()]
    assert post(client, paths).status_code == 201
    for parameters, lead in (({}, None), ({"lead": 3}, 3)):
        answer = client.get("/verification/history", params={"threshold": 10} | parameters)
        assert answer.status_code == 200, answer.text
        spans = [one for one in answer.json()["scores"] if one["from"] == f"{time}Z"]
        assert {one["source"] for one in spans} == {"model", "raw"}
        for span in spans:
            assert span["to"] == f"{time + DAY}Z"
            expected = row(scores(client, day, threshold=10), source=span["source"], lead_hours=lead)
            for name in (
                "hits",
                "misses",
                "false_alarms",
                "critical_success_index",
                "matches",
                "brier_score",
            ):
                assert span[name] == pytest.approx(expected[name])


@pytest.mark.parametrize(
    ("parameters", "where"),
    [({"threshold": "3"}, "threshold"), ({"lead": "99"}, "lead"), ({"span_hours": "0"}, "query span_hours")],
)
def test_a_history_of_what_is_not_there(
    client: ServiceClient, parameters: dict[str, str], where: str
) -> None:
    document = problem(client.get("/verification/history", params=parameters), 400, "bad-request")
    assert document["where"] == where


def test_what_is_no_observation(client: ServiceClient) -> None:
    problem(client.post("/observations", content=b""), 400, "empty-input")
    problem(client.post("/observations", content=b"<html>"), 415, "unrecognised-format")
    headers = {"Content-Encoding": "gzip"}
    problem(client.post("/observations", content=b"1", headers=headers), 400, "bad-request")
    files = [("files", ("a.txt", b"0.0")), ("station", (None, b"Seoul"))]
    problem(client.post("/observations", files=files), 400, "bad-request")


def test_metrics_have_the_scores_of_the_ledger(client: ServiceClient, tmp_path: Path) -> None:
    publish(client, tmp_path, 20)
    time = REFERENCE_TIME + 20 * DAY + 2 * HOUR
    post(client, [write_dfs(tmp_path, time, sample_rain_mm(3))])
    found = row(scores(client, 20), source="raw", threshold_mm=0.1, lead_hours=2)
    text = client.get("/metrics").text
    place = 'source="raw",model="sample",threshold_mm="0.1",lead_hours="2"'
    for name in ("critical_success_index", "frequency_bias", "brier_score", "matches"):
        labels = "{" + ",".join(sorted([*place.split(","), 'days="1"'])) + "}"
        assert f"rainpost_verification_{name}{labels} {float(found[name])}" in sorted_labels(text), name
    seconds = float(time.astype("datetime64[s]").astype(int))
    assert f"rainpost_last_verified_time_seconds {seconds}" in [
        f"{line.split()[0]} {float(line.split()[1])}"
        for line in text.splitlines()
        if line.startswith("rainpost_last")
    ]
    assert "rainpost_ledger_up 1.0" in text


def sorted_labels(text: str) -> list[str]:
    """Lines of the exposition with their labels in order."""
    lines = []
    for line in text.splitlines():
        name, brace, rest = line.partition("{")
        labels, _, value = rest.partition("}")
        lines.append(f"{name}{{{','.join(sorted(labels.split(',')))}}}{value}" if brace else line)
    return lines
