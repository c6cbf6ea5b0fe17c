"""Without an endpoint nothing is traced; with one and without the packages the service says what to do."""

from __future__ import annotations

import subprocess
import sys

import pytest

from service.errors import SettingsError
from service.logs import current_subject
from service.otlp import OtlpTracing
from service.settings import Settings
from service.tracing import NoTracing, open_tracing


def test_nothing_is_traced_by_default() -> None:
    tracing = open_tracing(Settings.model_validate({}).otlp_endpoint)
    assert isinstance(tracing, NoTracing)
    with tracing.span("cycle", "consumer", parent="anything", attributes={"a": 1}) as span:
        span.add({"b": 2})
        span.fail("reason")
        span.rename("other")
        assert tracing.traceparent() is None
        assert current_subject() == {}
    tracing.close()


def test_an_endpoint_opens_a_way_to_it() -> None:
    tracing = open_tracing("http://127.0.0.1:1")
    assert isinstance(tracing, OtlpTracing)
    tracing.close()


def test_without_the_packages_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "service.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"RAINPOST_OTLP_ENDPOINT;.*install rainpost\[tracing\]"):
        open_tracing("http://127.0.0.1:1")


def test_the_service_does_without_the_packages() -> None:
    script = (
        "import sys\n"
        "for name in ('opentelemetry.sdk', 'opentelemetry.exporter'):\n"
        "    sys.modules[name] = None\n"
        "import service.commands, service.runtime\n"
        "assert 'service.otlp' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("endpoint", ["collector:4318", "grpc://collector", "http://a b"])
def test_what_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("RAINPOST_OTLP_ENDPOINT", endpoint)
    with pytest.raises(SettingsError, match="RAINPOST_OTLP_ENDPOINT"):
        Settings.load()
