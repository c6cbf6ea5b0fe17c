"""Traces to a collector, by OTLP over HTTP. Imports OpenTelemetry: only where it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.logs import log_subject
from service.tracing import Attributes, Kind, Span
from service.versions import rainpost_version

_PATH: Final = "/v1/traces"
_TIMEOUT_SECONDS: Final = 5.0
_HEADER: Final = "traceparent"
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_KINDS: Final[dict[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class OtlpTracing:
    """Sends spans in the background, in batches; a collector that is not there costs spans and no more.

    endpoint: of the collector, without the path of its traces. OpenTelemetry's own variables, such as
    ``OTEL_EXPORTER_OTLP_HEADERS`` and ``OTEL_RESOURCE_ATTRIBUTES``, hold as well.
    """

    def __init__(self, endpoint: str) -> None:
        resource = Resource.create({"service.name": "rainpost", "service.version": rainpost_version()})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(
            endpoint=endpoint.rstrip("/").removesuffix(_PATH) + _PATH, timeout=_TIMEOUT_SECONDS
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("rainpost", rainpost_version())

    @contextmanager
    def span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str | None = None,
        attributes: Attributes | None = None,
    ) -> Iterator[Span]:
        """The block as a span; see ``service.tracing``. An exception that leaves it is kept with it."""
        context = None if parent is None else _PROPAGATOR.extract({_HEADER: parent}, Context())
        with self._tracer.start_as_current_span(
            name, context=context, kind=_KINDS[kind], attributes=attributes
        ) as span:
            own = span.get_span_context()
            with log_subject(
                trace_id=trace.format_trace_id(own.trace_id), span_id=trace.format_span_id(own.span_id)
            ):
                yield _OtlpSpan(span)

    def traceparent(self) -> str | None:
        """Of the span around, None without one."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier.get(_HEADER)

    def close(self) -> None:
        """Send what is left, if the collector takes it at once."""
        self._provider.shutdown()


class _OtlpSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def add(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def fail(self, reason: str) -> None:
        self._span.set_attribute("error.type", reason)
        self._span.set_status(Status(StatusCode.ERROR, reason))
