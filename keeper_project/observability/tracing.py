"""OpenTelemetry traces of requests, tasks, statements and requests to other systems (KEEPER_TRACES_URL).

OpenTelemetry's own instrumentations make the spans. What leaves this process is chosen here by a list: names
of routes, tasks, operations and systems, statuses and times. Addresses, queries, headers, statements,
messages of exceptions and all else that an instrumentation may note are left out, today's and tomorrow's.
"""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.conf import settings
from django.core.handlers.wsgi import get_path_info
from django.db import connection
from django.urls import resolve
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # undeclared there
from opentelemetry.instrumentation.mysqlclient import MySQLClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from core.http.requests import Answer, Environ, Front
from core.network.outbound import session

# Each is chosen by Keeper or by a standard, and none by a caller.
_ATTRIBUTES: Final = frozenset(
    {
        "celery.action",
        "celery.state",
        "celery.task_name",
        "db.operation.name",
        "db.system",
        "db.system.name",
        "http.method",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "http.status_code",
        "rpc.method",
        "rpc.service",
        "rpc.system",
    }
)
# Methods, SQL's verbs, Celery's tasks, operations of AWS.
_NAME: Final = re.compile(r"[A-Za-z ]{1,40}|(?:run|apply_async)/[\w.]{1,120}|[\w ]{1,40}\.\w{1,60}")
_EXCLUDED: Final = "healthz,readyz,metrics"


class ChosenParts(SpanExporter):
    """Passes spans on with what the lists allow, and nothing else."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([chosen(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def chosen(span: ReadableSpan) -> ReadableSpan:
    """Return a span without what may hold a value, a name or an address of a caller."""
    attributes: Mapping[str, Any] = span.attributes or {}
    kept = {name: value for name, value in attributes.items() if name in _ATTRIBUTES}
    return ReadableSpan(
        name=_name(span, kept),
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=kept,
        kind=span.kind,
        status=trace.Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _name(span: ReadableSpan, kept: Mapping[str, Any]) -> str:
    """Return the name of a span: of a request its route, never its address."""
    if span.kind is trace.SpanKind.SERVER:
        method = kept.get("http.request.method", kept.get("http.method", "HTTP"))
        return f"{method} {kept.get('http.route', 'unknown')}"
    return span.name if _NAME.fullmatch(span.name) else span.kind.name.lower()


def instrumentors() -> list[BaseInstrumentor]:
    """Return the instrumentations of what this installation uses."""
    mysql = connection.vendor == "mysql"
    return [
        DjangoInstrumentor(),
        CeleryInstrumentor(),  # type: ignore[no-untyped-call]  # the library is not typed there
        MySQLClientInstrumentor() if mysql else SQLite3Instrumentor(),
        RequestsInstrumentor(),
        URLLib3Instrumentor(),
        BotocoreInstrumentor(),  # type: ignore[no-untyped-call]  # nor there
    ]


def instrument(provider: TracerProvider | None = None) -> None:
    """Have requests, tasks, statements and requests to other systems make spans; once a process.

    To be called before views are loaded and connections are open. Without a provider spans go to the one that
    `start` sets, which may be later.
    """
    # Only ids: baggage would hand on what a caller sent.
    propagate.set_global_textmap(TraceContextTextMapPropagator())
    for each in instrumentors():
        if not each.is_instrumented_by_opentelemetry:
            each.instrument(tracer_provider=provider, excluded_urls=_EXCLUDED)


def provider_for(exporter: SpanExporter) -> TracerProvider:
    """Return what samples spans and hands them to an exporter, in a thread of this process."""
    ratio = TraceIdRatioBased(settings.KEEPER_TRACES_RATIO)
    provider = TracerProvider(
        # A caller's own choice to be traced costs Keeper time: it does not count.
        sampler=ParentBased(root=ratio, remote_parent_sampled=ratio, remote_parent_not_sampled=ratio),
        resource=Resource({"service.name": "keeper"}),
    )
    provider.add_span_processor(BatchSpanProcessor(ChosenParts(exporter)))
    return provider


def start() -> None:
    """Send spans from this process to KEEPER_TRACES_URL; to be called after it was forked."""
    exporter = OTLPSpanExporter(endpoint=settings.KEEPER_TRACES_URL, session=session())
    trace.set_tracer_provider(provider_for(exporter))


def traced(front: Front) -> Front:
    """Return what answers reads of values in front of Django, with a span for each answer."""
    tracer = trace.get_tracer(__name__)

    def answer(environ: Environ) -> Answer | None:
        started = time.time_ns()
        found = front(environ)
        if found is not None:
            context = propagate.extract({"traceparent": environ.get("HTTP_TRACEPARENT", "")})
            method, route = environ["REQUEST_METHOD"], resolve(get_path_info(environ)).route
            noted: Mapping[str, str | int] = {
                "http.request.method": method,
                "http.response.status_code": int(found.status.partition(" ")[0]),
                "http.route": route,
            }
            kind = trace.SpanKind.SERVER
            tracer.start_span(f"{method} {route}", context, kind, noted, start_time=started).end()
        return found

    return answer
