"""Spans over the wire, from a whole service to a collector."""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.job import STAGES
from service.logs import current_subject
from service.otlp import OtlpTracing
from service.references import hash_file
from service.submission import Submission
from tests.service.sample_artefact import write_artefact
from tests.service.sample_collector import CollectedSpan, SampleCollector, collecting
from tests.service.sample_cycle import write_cycle
from tests.service.sample_receiver import free_port
from tests.service.sample_server import Server
from tests.service.sample_service import reach, running

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
INTERNAL, SERVER, PRODUCER, CONSUMER = 1, 2, 4, 5
"""Kinds of spans, as OTLP numbers them."""


@dataclass(frozen=True)
class Traced:
    """What a service sent, answered and logged."""

    collector: SampleCollector
    product: httpx.Response
    refusal: httpx.Response
    lines: list[dict[str, Any]]

    def spans(self) -> dict[str, CollectedSpan]:
        """Of the cycle, by name."""
        return self.collector.of_trace(TRACE)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """A cycle that its client traces, one that fails, and what machines ask for."""
    folder = tmp_path_factory.mktemp("traced")
    write_artefact(folder / "models")
    paths = write_cycle(folder / "cycle")
    server = Server(folder)
    with collecting() as collector:
        server.settings |= {
            "RAINPOST_OTLP_ENDPOINT": f"{collector.endpoint}/",
            "RAINPOST_LOG_FORMAT": "json",
            "RAINPOST_ACCESS_LOG": "true",
        }
        server.client.headers["traceparent"] = f"00-{TRACE}-{CALLER}-01"
        server.start()
        try:
            product = server.post(paths, "wait=60")
            del server.client.headers["traceparent"]
            refusal = server.post(paths[:1], "wait=60")
            for path in ("/metrics", "/livez", "/nothing"):
                server.client.get(path)
        finally:
            status = server.stop(signal.SIGTERM)
            server.client.close()
        assert status in {0, -signal.SIGTERM}
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
        yield Traced(collector, product, refusal, lines)


def test_a_cycle_is_one_trace_from_its_client_to_its_steps(traced: Traced) -> None:
    assert traced.product.status_code == 200
    spans = traced.spans()
    assert set(spans) == {"POST /correct", "enqueue", "cycle", *STAGES}
    post, enqueue, cycle = spans["POST /correct"], spans["enqueue"], spans["cycle"]
    assert (post.parent, enqueue.parent, cycle.parent) == (CALLER, post.id, enqueue.id)
    assert {spans[stage].parent for stage in STAGES} == {cycle.id}
    assert [post.kind, enqueue.kind, cycle.kind] == [SERVER, PRODUCER, CONSUMER]
    assert {spans[stage].kind for stage in STAGES} == {INTERNAL}
    assert not any(span.failed for span in spans.values())


def test_steps_follow_each_other_within_the_cycle(traced: Traced) -> None:
    spans = traced.spans()
    steps = [spans[stage] for stage in STAGES]
    for before, after in itertools.pairwise(steps):
        assert before.started <= before.ended <= after.started
    assert spans["cycle"].started <= steps[0].started
    assert steps[-1].ended <= spans["cycle"].ended


def test_spans_say_what_they_are_of(traced: Traced) -> None:
    spans = traced.spans()
    job = traced.product.headers["location"].removeprefix("/jobs/")
    assert spans["cycle"].attributes == {"rainpost.job": job, "rainpost.cycle": "2026-11-22T00:00:00Z"}
    assert spans["enqueue"].attributes == {"rainpost.job": job, "rainpost.source": "request"}
    assert spans["POST /correct"].attributes == {
        "http.request.method": "POST",
        "url.path": "/correct",
        "http.route": "/correct",
        "http.response.status_code": 200,
    }
    for span in traced.collector.spans:
        assert span.resource["service.name"] == "rainpost"
        assert str(span.resource["service.version"]).startswith("0.")
    assert traced.collector.paths == {"/v1/traces"}


def test_what_failed_says_so(traced: Traced) -> None:
    assert traced.refusal.status_code == 422
    (cycle,) = [span for span in traced.collector.named("cycle") if span.trace != TRACE]
    spans = traced.collector.of_trace(cycle.trace)
    assert set(spans) == {"POST /correct", "enqueue", "cycle", "collect", "decode"}
    assert spans["POST /correct"].parent == "", "the client began no trace"
    failed = {name for name, span in spans.items() if span.failed}
    assert failed == {"cycle", "decode"}, "the request itself was answered as it should"
    assert cycle.attributes["error.type"] == spans["decode"].attributes["error.type"] == "missing-lead"


def test_machines_that_ask_all_the_time_are_not_traced(traced: Traced) -> None:
    paths = {span.attributes.get("url.path") for span in traced.collector.spans if span.kind == SERVER}
    assert {"/correct", "/nothing"} <= paths
    assert not paths & {"/metrics", "/livez", "/readyz"}
    (unknown,) = [span for span in traced.collector.spans if span.attributes.get("url.path") == "/nothing"]
    assert unknown.name == "GET", "a client cannot invent names"


def test_log_lines_name_their_span(traced: Traced) -> None:
    job = traced.product.headers["location"].removeprefix("/jobs/")[:12]
    ids = {name: span.id for name, span in traced.spans().items()}
    of_the_job = [line for line in traced.lines if line.get("job") == job]
    assert {line["trace_id"] for line in of_the_job} == {TRACE}
    (decoded,) = [line for line in of_the_job if line["logger"] == "service.decoding"]
    assert decoded["span_id"] == ids["decode"], "in a process of its own"
    (published,) = [line for line in of_the_job if line["message"].startswith("published")]
    assert published["span_id"] == ids["cycle"]
    assert published["cycle"] == "2026-11-22T00:00:00Z"
    name = traced.product.headers["x-request-id"]
    (access,) = [
        line for line in traced.lines if line["logger"] == "uvicorn.access" and line.get("request") == name
    ]
    assert access["trace_id"] == TRACE
    assert access["span_id"] == ids["POST /correct"]


def test_a_cycle_that_nobody_posted_is_a_trace_of_its_own(tmp_path: Path) -> None:
    inputs = [hash_file(path) for path in write_cycle(tmp_path / "cycle")]
    with collecting() as collector:
        with running(tmp_path, otlp_endpoint=collector.endpoint) as client:
            jobs = client.runtime.jobs
            job = jobs.submit(client.runtime.task(Submission.of(inputs, None)), source="inbox")
            reach(lambda: jobs.get(job.id).finished)
        (cycle,) = collector.named("cycle")
    spans = collector.of_trace(cycle.trace)
    assert set(spans) == {"enqueue", "cycle", *STAGES}
    assert spans["enqueue"].parent == ""
    assert spans["enqueue"].attributes["rainpost.source"] == "inbox"
    assert cycle.parent == spans["enqueue"].id


def test_a_collector_that_is_not_there_costs_spans_and_no_more(tmp_path: Path) -> None:
    with running(tmp_path, otlp_endpoint=f"http://127.0.0.1:{free_port()}") as client:
        files = [("files", (path.name, path.read_bytes())) for path in write_cycle(tmp_path / "cycle")]
        answer = client.post("/correct", files=files, headers={"Prefer": "wait=60"})
        assert answer.status_code == 200
        assert "x-request-id" in answer.headers


def test_what_a_client_sends_as_its_trace_is_taken_if_it_is_one() -> None:
    with collecting() as collector:
        tracing = OtlpTracing(collector.endpoint)
        for parent in (f"00-{TRACE}-{CALLER}-01", "00-zz", f"00-{'0' * 32}-{CALLER}-01", ""):
            with tracing.span("one", parent=parent):
                pass
        tracing.close()
        first, *others = collector.named("one")
    assert (first.trace, first.parent) == (TRACE, CALLER)
    assert all(span.parent == "" for span in others)
    assert len({span.trace for span in collector.spans}) == 4


def test_a_client_may_ask_not_to_be_traced() -> None:
    with collecting() as collector:
        tracing = OtlpTracing(collector.endpoint)
        with tracing.span("none", parent=f"00-{TRACE}-{CALLER}-00"):
            assert current_subject()["trace_id"] == TRACE
        tracing.close()
        assert collector.spans == []


def test_spans_lie_within_each_other_and_take_exceptions_with_them() -> None:
    with collecting() as collector:
        tracing = OtlpTracing(collector.endpoint)
        assert tracing.traceparent() is None
        with tracing.span("outer", attributes={"number": 3}):
            outer = current_subject()
            assert str(tracing.traceparent()).startswith(f"00-{outer['trace_id']}-{outer['span_id']}-")
            with pytest.raises(OSError, match="full"), tracing.span("inner"):
                raise OSError("the disk is full")
            assert current_subject() == outer
        assert current_subject() == {}
        tracing.close()
        (outer_span,), (inner,) = collector.named("outer"), collector.named("inner")
    assert inner.parent == outer_span.id == outer["span_id"]
    assert (inner.failed, outer_span.failed) == (True, False)
    assert outer_span.attributes == {"number": 3}


def test_a_stop_does_not_wait_for_a_collector_that_is_not_there() -> None:
    tracing = OtlpTracing(f"http://127.0.0.1:{free_port()}")
    with tracing.span("lost"):
        time.sleep(0)
    tracing.close()
    assert tracing.traceparent() is None
