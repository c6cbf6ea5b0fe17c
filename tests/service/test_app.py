"""The HTTP interface from outside: what goes in, what comes out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from service.routes.state import NETCDF
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_service import ServiceClient, problem, submit

DAY = np.timedelta64(1, "D")


def cycle_of_day(folder: Path, day: int, scale: float = 1.0) -> tuple[str, list[Path]]:
    """A cycle of its own for a test: its reference time and its files."""
    time = REFERENCE_TIME + day * DAY
    return f"{time}Z", write_cycle(folder / str(day), replaced(reference_time=time), scale)


def dataset_of(content: bytes, folder: Path) -> xr.Dataset:
    path = folder / "answer.nc"
    path.write_bytes(content)
    with xr.open_dataset(path, engine="netcdf4") as dataset:
        return dataset.load()


def test_a_multipart_set_becomes_a_product(client: ServiceClient, tmp_path: Path) -> None:
    time, paths = cycle_of_day(tmp_path, 1)
    answer = submit(client, paths)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == NETCDF
    assert answer.headers["preference-applied"] == "wait=60"
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert answer.headers["content-location"] == f"/cycles/{time}/product?revision=1"
    dataset = dataset_of(answer.content, tmp_path)
    assert dataset["class_probability"].shape == (2, 3, 8, 6)
    assert dataset["forecast_reference_time"].values == np.datetime64(time[:-1])


def test_without_prefer_the_answer_is_a_job(client: ServiceClient, tmp_path: Path) -> None:
    time, paths = cycle_of_day(tmp_path, 2)
    answer = submit(client, paths, prefer=None)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert job["state"] in {"queued", "running"}
    assert [one["name"] for one in job["inputs"]] == [
        path.name for path in sorted(paths, key=lambda path: hashlib.sha256(path.read_bytes()).hexdigest())
    ]
    assert submit(client, paths).status_code == 200
    finished = client.get(f"/jobs/{job['id']}").json()
    assert finished["state"] == "succeeded"
    assert finished["product"] == f"/cycles/{time}/product?revision=1"
    assert client.get(finished["product"]).status_code == 200


def test_a_single_file_may_be_the_body(client: ServiceClient, tmp_path: Path) -> None:
    _, paths = cycle_of_day(tmp_path, 3)
    body = b"".join(path.read_bytes() for path in paths)
    for content_type in (
        "application/octet-stream",
        "application/x-grib2",
        "application/x-www-form-urlencoded",
    ):
        answer = client.post(
            "/correct", content=body, headers={"Content-Type": content_type, "Prefer": "wait=60"}
        )
        assert answer.status_code == 200, answer.text


def test_the_same_submission_is_one_job_and_one_run(client: ServiceClient, tmp_path: Path) -> None:
    time, paths = cycle_of_day(tmp_path, 4)
    stage = 'rainpost_stage_duration_seconds_count{stage="decode"}'
    before = sample(client, stage)
    first = submit(client, paths)
    second = submit(client, list(reversed(paths)))
    assert first.headers["location"] == second.headers["location"]
    assert first.content == second.content
    assert sample(client, stage) == before + 1
    assert len(client.get(f"/cycles/{time}").json()["revisions"]) == 1


def test_new_input_is_a_new_revision(client: ServiceClient, tmp_path: Path) -> None:
    time, paths = cycle_of_day(tmp_path, 5)
    _, others = cycle_of_day(tmp_path / "other", 5, scale=2.0)
    first, second = submit(client, paths), submit(client, others)
    document = client.get(f"/cycles/{time}").json()
    assert [one["revision"] for one in document["revisions"]] == [1, 2]
    assert [one["sha256"] for one in document["revisions"]] == [
        hashlib.sha256(answer.content).hexdigest() for answer in (first, second)
    ]
    assert client.get(document["product"]).content == second.content
    assert client.get(document["revisions"][0]["product"]).content == first.content
    problem(client.get(f"/cycles/{time}/product", params={"revision": 3}), 404, "not-found")


def test_the_declared_reference_time_must_be_that_of_the_files(client: ServiceClient, tmp_path: Path) -> None:
    time, paths = cycle_of_day(tmp_path, 6)
    answer = submit(client, paths, reference_time="2026-01-01T00:00Z")
    document = problem(answer, 422, "mixed-cycles")
    assert "2026-01-01" in json.dumps(document)
    problem(client.get(f"/cycles/{time}"), 404, "not-found")
    assert submit(client, paths, reference_time=time).status_code == 200


def test_declared_or_not_the_product_is_published_once(client: ServiceClient, tmp_path: Path) -> None:
    time, paths = cycle_of_day(tmp_path, 7)
    first = submit(client, paths)
    second = submit(client, paths, reference_time=time)
    assert first.headers["etag"] == second.headers["etag"]
    assert len(client.get(f"/cycles/{time}").json()["revisions"]) == 1


def test_references_to_allowed_files(client: ServiceClient, service_folder: Path) -> None:
    time, paths = cycle_of_day(service_folder / "inbox", 8)
    inputs = [{"uri": str(path)} for path in paths]
    inputs[0] = {"uri": paths[0].as_uri(), "sha256": hashlib.sha256(paths[0].read_bytes()).hexdigest()}
    answer = client.post(
        "/correct", json={"reference_time": time, "inputs": inputs}, headers={"Prefer": "wait=60"}
    )
    assert answer.status_code == 200, answer.text
    assert all(path.exists() for path in paths), "files that were referred to are not ours to remove"


def test_references_elsewhere_are_forbidden(client: ServiceClient, service_folder: Path) -> None:
    _, (path, *_) = cycle_of_day(service_folder / "elsewhere", 9)
    link = service_folder / "inbox" / "link.gb2"
    link.symlink_to(path)
    for uri in (str(path), str(link), "http://127.0.0.1/x", f"{service_folder}/inbox/../elsewhere/x"):
        answer = client.post("/correct", json={"inputs": [{"uri": uri}]})
        assert uri in problem(answer, 403, "forbidden-input")["where"]


def test_a_wrong_digest_is_refused(client: ServiceClient, service_folder: Path) -> None:
    _, (path, *_) = cycle_of_day(service_folder / "inbox", 10)
    answer = client.post("/correct", json={"inputs": [{"uri": str(path), "sha256": "0" * 64}]})
    document = problem(answer, 422, "digest-mismatch")
    assert hashlib.sha256(path.read_bytes()).hexdigest() in document["got"]


def test_a_body_above_the_limit_is_refused_while_it_streams(client: ServiceClient) -> None:
    limit = client.runtime.settings.max_body_bytes
    taken = 0

    def stream() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(20):
            taken += 10_000
            yield b"\0" * 10_000

    announced = client.post("/correct", content=b"\0" * (limit + 1))
    assert "announced" in problem(announced, 413, "too-large")["got"]
    streamed = client.post("/correct", content=stream())
    assert str(limit) in problem(streamed, 413, "too-large")["expected"]
    assert list((client.runtime.settings.data_folder / "work" / "uploads").iterdir()) == []


def test_uploads_are_removed_after_success(client: ServiceClient, tmp_path: Path) -> None:
    _, paths = cycle_of_day(tmp_path, 11)
    work = client.runtime.settings.data_folder / "work"
    answer = submit(client, paths)
    job = answer.headers["location"].removeprefix("/jobs/")
    assert not (work / "jobs" / job).exists()
    submit(client, paths)
    assert list((work / "uploads").iterdir()) == []


def test_a_compressed_body_is_refused(client: ServiceClient) -> None:
    answer = client.post("/correct", content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert problem(answer, 400, "bad-request")["where"] == "Content-Encoding"


def test_form_fields(client: ServiceClient, tmp_path: Path) -> None:
    time, paths = cycle_of_day(tmp_path, 12)
    files = [("files", (path.name, path.read_bytes())) for path in paths]
    answer = client.post("/correct", files=files, data={"colour": "red"})
    assert problem(answer, 400, "bad-request")["where"] == "colour"
    answer = client.post(
        "/correct", files=files, data={"reference_time": time}, params={"reference_time": "2026010100"}
    )
    assert "two different" in problem(answer, 400, "bad-request")["detail"]
    answer = client.post(
        "/correct", files=files, data={"reference_time": time}, headers={"Prefer": "wait=60"}
    )
    assert answer.status_code == 200, answer.text


def test_models_say_what_they_are(client: ServiceClient, service_folder: Path) -> None:
    broken = service_folder / "models" / "broken-1.0.0"
    broken.mkdir()
    (broken / "manifest.json").write_text("{}")
    one, sample_model = client.get("/models").json()["models"]
    assert (one["folder"], one["loaded"], one["problem"]["reason"]) == ("broken-1.0.0", False, "bad-artefact")
    assert (sample_model["name"], sample_model["loaded"], sample_model["provider"]) == ("sample", True, "cpu")
    assert sample_model["simulated"] is True
    assert sample_model["leads_hours"] == [2, 3]


def test_health(client: ServiceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/livez").json() == {"alive": True}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert {check["name"]: check["passed"] for check in ready.json()["checks"]} == {
        "model": True,
        "data_folder": True,
        "queue": True,
    }

    def refuse() -> str:
        raise ConnectionError("no database")

    monkeypatch.setattr(client.runtime.jobs, "check", refuse)
    unready = client.get("/readyz")
    assert unready.status_code == 503
    assert [check["detail"] for check in unready.json()["checks"] if not check["passed"]] == [
        "the job database does not answer: ConnectionError"
    ]


def test_version(client: ServiceClient) -> None:
    document = client.get("/version").json()
    assert re.fullmatch(r"\d+\.\d+\.\d+", document["rainpost"])
    assert document["model"] == "sample-0.1.0"
    assert {"python", "onnxruntime", "eccodes"} <= set(document["dependencies"])


def sample(client: ServiceClient, series: str) -> float:
    """The value of one series."""
    text = client.get("/metrics").text
    values = [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{series} ")]
    assert len(values) == 1, f"{series} is not there once"
    return values[0]


def test_metrics_follow_the_jobs(client: ServiceClient, tmp_path: Path) -> None:
    _, paths = cycle_of_day(tmp_path, 13)
    succeeded = 'rainpost_jobs_total{outcome="succeeded",reason=""}'
    failed = 'rainpost_jobs_total{outcome="failed",reason="missing-lead"}'
    before = sample(client, succeeded)
    submit(client, paths)
    submit(client, paths[:2])
    assert sample(client, succeeded) == before + 1
    assert sample(client, failed) >= 1
    assert sample(client, "rainpost_last_published_reference_time_seconds") > 1.79e9
    assert 'rainpost_model_info{name="sample",provider="cpu"' in client.get("/metrics").text


def test_unknown_routes_and_methods_are_problems(client: ServiceClient) -> None:
    assert problem(client.get("/nothing"), 404, "not-found")["instance"] == "/nothing"
    answer = client.get("/correct")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"
    problem(client.get("/jobs/unknown"), 404, "not-found")
    answer = client.get("/cycles/latest/product", params={"lead": "three"})
    assert "lead" in problem(answer, 400, "bad-request")["where"]


def test_a_fault_of_the_service_tells_nothing_of_its_inside(
    client: ServiceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise KeyError("secret")

    monkeypatch.setattr(client.runtime.store, "newest_first", fail)
    answer = client.get("/cycles")
    problem(answer, 500, "internal-error")
    assert "secret" not in answer.text


def test_the_documentation_lists_every_route(client: ServiceClient) -> None:
    page = client.get("/docs")
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/",
        "/correct",
        "/jobs/{job_id}",
        "/cycles",
        "/ingest",
        "/cycles/{reference_time}",
        "/cycles/{reference_time}/product",
        "/cycles/{reference_time}/revisions/{revision}.nc",
        "/cycles/{reference_time}/layers",
        "/cycles/{reference_time}/layers/{layer}",
        "/cycles/{reference_time}/map",
        "/cycles/{reference_time}/revisions/{revision}.zarr/{key}",
        "/wms",
        "/conformance",
        "/collections",
        "/collections/precipitation",
        "/collections/precipitation/position",
        "/collections/precipitation/area",
        "/collections/precipitation/cube",
        "/collections/precipitation/instances",
        "/collections/precipitation/instances/{reference_time}",
        "/collections/precipitation/instances/{reference_time}/position",
        "/collections/precipitation/instances/{reference_time}/area",
        "/collections/precipitation/instances/{reference_time}/cube",
        "/cycles/{reference_time}/explanations",
        "/cycles/{reference_time}/explanations/{name}",
        "/cycles/{reference_time}/explanations/{name}.nc",
        "/session",
        "/events",
        "/observations",
        "/verification",
        "/verification/history",
        "/models",
        "/models/active",
        "/models/shadow",
        "/livez",
        "/readyz",
        "/version",
        "/disk",
        "/metrics",
    }
    assert all(path in page.text for path in document["paths"])
    assert not re.search(r'(src|href)="(https?:)?//', page.text), "nothing is loaded from elsewhere"


def test_the_openapi_document_holds_together(client: ServiceClient) -> None:
    text = client.get("/openapi.json").text
    schemas = json.loads(text)["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) <= set(schemas)
    assert "HTTPValidationError" not in text
    bodies = json.loads(text)["paths"]["/correct"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "application/json", NETCDF} <= set(bodies)
