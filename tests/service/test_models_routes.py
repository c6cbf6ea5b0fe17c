"""Rolling a model forward and back over HTTP, while the service works."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from service.artefact import GRAPH, MANIFEST
from service.times import parse_time
from tests.service.sample_artefact import rewrite_manifest, write_artefact, write_other_artefact
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_postgresql import new_database
from tests.service.sample_server import Server
from tests.service.sample_service import Gate, ServiceClient, problem, reach, running, submit, submit_held

ONE, TWO, THREE = "sample-0.1.0", "sample-0.2.0", "sample-0.3.0"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[ServiceClient]:
    """With two models of different weights, the older one active."""
    write_artefact(tmp_path / "models")
    write_other_artefact(tmp_path / "models", version="0.2.0")
    # The other weights see heavy rain in most places.
    with running(tmp_path, model=ONE, gate_heaviest_share=1.0) as client:
        yield client


def activate(client: Any, model: str, **more: Any) -> Any:
    answer = client.put("/models/active", json={"model": model} | more)
    assert answer.status_code == 200, answer.text
    return answer


def cycle(folder: Path, hours: int) -> list[Path]:
    """The files of a cycle so many hours after the sample's."""
    time = REFERENCE_TIME + np.timedelta64(hours, "h")
    return write_cycle(folder / f"cycle-{hours}", replaced(reference_time=time))


def version_of(client: ServiceClient, job: str) -> str:
    """Of the model of a job that succeeds, which is also that of its product."""
    reach(lambda: bool(client.get(job).json()["state"] == "succeeded"))
    document = client.get(job).json()
    (revision,) = client.get(f"/cycles/{document['reference_time']}").json()["revisions"]
    assert revision["model"] == document["model"]
    version: str = document["model"]["version"]
    return version


def probabilities(client: ServiceClient, job: str) -> NDArray[np.float32]:
    """Of the product of a job that succeeded."""
    document = client.get(job).json()
    record = client.runtime.store.record(parse_time(document["reference_time"]), document["revision"])
    found: NDArray[np.float32] = client.runtime.shelf.dataset(record)["class_probability"].values
    return found


def test_a_job_at_work_keeps_its_model_and_the_next_one_takes_the_new(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(client, monkeypatch)
    at_work = submit_held(client, cycle(tmp_path, 0))
    waiting = submit(client, cycle(tmp_path, 6), prefer=None).headers["location"]
    answer = activate(client, TWO, by="someone")
    assert {name: answer.json()[name] for name in ("model", "by", "chosen")} == {
        "model": TWO,
        "by": "someone",
        "chosen": True,
    }
    after = submit(client, cycle(tmp_path, 12), prefer=None).headers["location"]
    gate.open()
    assert version_of(client, at_work) == "0.1.0"
    assert version_of(client, waiting) == "0.1.0", "it was accepted before"
    assert version_of(client, after) == "0.2.0"
    old, same, new = (probabilities(client, job) for job in (at_work, waiting, after))
    np.testing.assert_array_equal(old, same)
    assert np.abs(old - new).max() > 0.1, "the cycles have the same values"
    activate(client, ONE)
    assert version_of(client, submit(client, cycle(tmp_path, 18)).headers["location"]) == "0.1.0"


def test_everything_names_the_new_model(client: ServiceClient) -> None:
    activate(client, TWO)
    assert client.get("/version").json()["model"] == TWO
    (check, *_) = client.get("/readyz").json()["checks"]
    assert TWO in check["detail"]
    lines = [
        line for line in client.get("/metrics").text.splitlines() if line.startswith("rainpost_model_info{")
    ]
    assert len(lines) == 1
    assert 'role="active"' in lines[0]
    assert 'version="0.2.0"' in lines[0]
    document = client.get("/models").json()
    assert [(one["folder"], one["role"], one["loaded"]) for one in document["models"]] == [
        (ONE, None, False),
        (TWO, "active", True),
    ]
    assert (document["active"]["model"], document["shadow"]["model"]) == (TWO, None)
    newest, first = document["changes"]
    assert (newest["from"], newest["to"], newest["by"]) == (ONE, TWO, "127.0.0.1")
    assert (first["from"], first["to"], first["by"]) == (None, ONE, "RAINPOST_MODEL")


def test_restarts_keep_the_choice_until_it_is_withdrawn(tmp_path: Path) -> None:
    for version in ("0.1.0", "0.2.0"):
        write_artefact(tmp_path / "models", version=version)
    with running(tmp_path, model=ONE) as client:
        chosen = activate(client, TWO).json()
    with running(tmp_path, model=ONE) as client:
        assert client.get("/version").json()["model"] == TWO
        assert client.get("/models/active").json() == chosen
        assert version_of(client, submit(client, cycle(tmp_path, 0)).headers["location"]) == "0.2.0"
        answer = client.delete("/models/active", params={"by": "someone"})
        assert (answer.json()["model"], answer.json()["chosen"]) == (ONE, False)
        assert client.get("/version").json()["model"] == ONE
    with running(tmp_path, model=TWO) as client:
        assert client.get("/models/active").json()["model"] == TWO, "nobody has chosen"


def change_a_file(folder: Path) -> None:
    (folder / GRAPH).write_bytes((folder / GRAPH).read_bytes() + b"\0")


def change_the_weights(folder: Path) -> None:
    graph = onnx.load(folder / GRAPH)
    weights = graph.graph.initializer[0]
    changed = onnx.numpy_helper.to_array(weights) * np.float32(1.01)
    weights.CopyFrom(onnx.numpy_helper.from_array(changed, "weights"))
    onnx.save(graph, folder / GRAPH)
    rewrite_manifest(folder)


def drop_a_channel(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    channel = manifest["cycle"]["channels"].pop(0)
    del manifest["normalisation"][channel]
    (folder / MANIFEST).write_text(json.dumps(manifest))


def invent_a_channel(folder: Path) -> None:
    manifest = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(manifest.replace("relative_humidity_850hpa", "relative_humidity_851hpa"))


SPOILT: dict[Callable[[Path], None], str] = {
    change_a_file: "not the one that the manifest describes",
    change_the_weights: "does not reproduce its golden case",
    drop_a_channel: "does not have the signature of its manifest",
    invent_a_channel: "the manifest is not valid",
    shutil.rmtree: "no such model is installed",
}


def test_a_wrong_model_is_refused_and_the_active_one_serves(client: ServiceClient, tmp_path: Path) -> None:
    before = client.get("/models/active")
    for number, (spoil, text) in enumerate(SPOILT.items()):
        folder = write_artefact(tmp_path / "models", version=f"1.0.{number}")
        spoil(folder)
        for role in ("active", "shadow"):
            answer = client.put(f"/models/{role}", json={"model": folder.name})
            document = problem(answer, 422, "model-refused")
            assert text in document["detail"]
            assert document["where"]
    after = client.get("/models/active")
    assert (after.json(), after.headers["etag"]) == (before.json(), before.headers["etag"])
    assert client.get("/models/shadow").json()["model"] is None
    assert client.get("/readyz").status_code == 200
    assert submit(client, cycle(tmp_path, 0)).status_code == 200


def test_conditions(client: ServiceClient) -> None:
    tag = client.get("/models/active").headers["etag"]
    changed = client.put("/models/active", json={"model": TWO}, headers={"If-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] == client.get("/models/active").headers["etag"] != tag
    late = client.put("/models/active", json={"model": ONE}, headers={"If-Match": tag})
    assert problem(late, 412, "precondition-failed")["got"] == changed.headers["etag"]
    problem(client.delete("/models/active", headers={"If-Match": tag}), 412, "precondition-failed")
    late = client.put("/models/active", json={"model": ONE, "expected": ONE})
    assert problem(late, 412, "precondition-failed")["got"] == TWO
    problem(client.put("/models/shadow", json={"model": ONE, "expected": TWO}), 412, "precondition-failed")
    assert client.put("/models/shadow", json={"model": ONE, "expected": None}).status_code == 200
    assert client.put("/models/active", json={"model": TWO, "expected": TWO}).status_code == 200


def test_the_list_has_an_entity_tag(client: ServiceClient) -> None:
    answer = client.get("/models")
    tag = {"If-None-Match": answer.headers["etag"]}
    assert client.get("/models", headers=tag).status_code == 304
    activate(client, TWO)
    assert client.get("/models", headers=tag).status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"model": 1}, {"model": TWO, "when": "now"}, {"model": TWO, "by": ""}, ["sample"]]
)
def test_bodies_that_make_no_sense(client: ServiceClient, body: Any) -> None:
    problem(client.put("/models/active", json=body), 400, "bad-request")
    problem(client.put("/models/active", json={"model": None}), 422, "model-refused")
    assert client.get("/models/active").json()["model"] == ONE


def test_an_active_model_that_vanishes_is_told(client: ServiceClient, tmp_path: Path) -> None:
    """Chosen by another process, which has it on its own disk."""
    activate(client, ONE)
    other = write_artefact(tmp_path / "models", version="0.3.0")
    client.runtime.rollout.choose("active", THREE, "someone")
    aside = other.rename(tmp_path / "aside")
    answer = submit(client, cycle(tmp_path, 0))
    assert THREE in problem(answer, 503, "unavailable")["expected"]
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert "no longer installed" in ready.text
    assert client.get("/models/active").json()["problem"]["reason"] == "bad-artefact"
    aside.rename(other)
    assert submit(client, cycle(tmp_path, 0)).status_code == 200
    assert client.get("/readyz").status_code == 200
    assert client.get("/version").json()["model"] == THREE


def test_two_processes_on_one_database_agree(server: str, tmp_path: Path) -> None:
    for version in ("0.1.0", "0.2.0"):
        write_artefact(tmp_path / "models", version=version)
    url = new_database(server)
    servers = [Server(tmp_path) for _ in range(2)]
    try:
        for one in servers:
            one.settings |= {"RAINPOST_DATABASE_URL": url, "RAINPOST_MODEL": ONE}
            one.start()
        first, second = servers
        chosen = activate(first.client, TWO).json()
        answer = second.post(cycle(tmp_path, 0), "wait=60")
        assert answer.status_code == 200, answer.text
        job = second.client.get(answer.headers["location"]).json()
        assert job["model"]["version"] == "0.2.0", "the very next job, in the other process"
        assert second.client.get("/models/active").json() == chosen
        assert second.client.get("/version").json()["model"] == TWO
        late = {"model": ONE, "expected": ONE}
        problem(second.client.put("/models/active", json=late), 412, "precondition-failed")
        activate(second.client, ONE)
        reach(lambda: bool(first.client.get("/version").json()["model"] == ONE))
    finally:
        for one in servers:
            one.process.kill()
            one.process.wait()
            one.client.close()
