"""Traces hold what Keeper or a standard chose, and never what a caller, a secret or another system gave."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.test import Client
from opentelemetry import propagate
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pytest_django import Settings

from core.http.requests import Answer
from environments_app.tests.cast import Cast
from keeper_project.observability import tracing
from keeper_project.startup import missing
from secrets_app.services.write import put
from secrets_app.types.registry import SecretType
from sync_app.tasks import execute_run

# Plain in every encoding.
CANARY = "c4n4ry7Qz"
HEADERS = {
    "X-Canary": CANARY,
    "Authorization": f"Bearer {CANARY}",
    "User-Agent": CANARY,
    "Baggage": f"a={CANARY}",
}


class Spans:
    """What left the process, and what the instrumentations had noted before."""

    def __init__(
        self, provider: TracerProvider, chosen: InMemorySpanExporter, noted: InMemorySpanExporter
    ) -> None:
        self._provider, self._chosen, self._noted = provider, chosen, noted

    def exported(self) -> Sequence[ReadableSpan]:
        self._provider.force_flush()
        return self._chosen.get_finished_spans()

    def noted(self) -> str:
        return "".join(span.to_json() for span in self._noted.get_finished_spans())


@pytest.fixture
def spans(settings: Settings) -> Iterator[Spans]:
    settings.KEEPER_TRACES_RATIO = 1.0
    # The instrumentation adds to the list of the settings.
    settings.MIDDLEWARE = list(settings.MIDDLEWARE)
    chosen, noted, before = InMemorySpanExporter(), InMemorySpanExporter(), propagate.get_global_textmap()
    provider = tracing.provider_for(chosen)
    provider.add_span_processor(SimpleSpanProcessor(noted))
    tracing.instrument(provider)
    try:
        yield Spans(provider, chosen, noted)
    finally:
        for each in tracing.instrumentors():
            each.uninstrument()
        propagate.set_global_textmap(before)
        provider.shutdown()


@pytest.fixture
def somewhere() -> Iterator[str]:
    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("X-Canary", CANARY)
            self.end_headers()
            self.wfile.write(CANARY.encode())

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = HTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.django_db(transaction=True)
def test_no_value_parameter_header_query_or_name_is_in_a_span(
    spans: Spans, cast: Cast, bearer: Callable[..., Client], somewhere: str
) -> None:
    secret, _ = put(
        actor=cast.principal(cast.alice), environment=cast.development, name=f"a/{CANARY}",
        secret_type=SecretType.TEXT, value=CANARY,
    )  # fmt: skip
    client = bearer("editor", cast.development)
    headers = {name: value for name, value in HEADERS.items() if name != "Authorization"}
    assert client.get(f"/api/secrets/{secret.pk}?stage=", headers=headers).status_code == 200
    assert client.get(f"/api/secrets/{secret.pk}?query={CANARY}", headers=headers).status_code == 400
    client.post(
        "/api/secrets",
        {"environment_id": cast.development.pk, "name": "b", "secret_type": "TEXT", "value": CANARY},
        content_type="application/json",
    )
    client.get(f"/api/environments/{CANARY}/secrets/{CANARY}?{CANARY}={CANARY}", headers=HEADERS)
    Client().get(f"/nothing/{CANARY}", headers=HEADERS)
    Client().generic(CANARY, "/nothing")
    requests.get(f"{somewhere}/{CANARY}?q={CANARY}", headers=HEADERS, timeout=30)
    # The suite's own connection is older than the instrumentation.
    with closing(sqlite3.connect(":memory:")) as other:
        other.cursor().execute(f"SELECT ?, '{CANARY}'", [CANARY])
    exported = spans.exported()
    text = "".join(span.to_json() for span in exported)
    assert CANARY not in text
    # There was something to leave out.
    assert CANARY in spans.noted()
    names = {span.name for span in exported}
    assert {"GET api/secrets/<id:id>", "POST api/secrets", "SELECT"} <= names, names
    assert "GET unknown" in names, names
    kinds = {span.kind.name for span in exported}
    assert {"SERVER", "CLIENT"} <= kinds
    allowed = tracing._ATTRIBUTES
    assert all((span.attributes or {}).keys() <= allowed for span in exported)
    assert all(not span.events and not span.links and span.status.description is None for span in exported)


def test_what_an_instrumentation_may_note_tomorrow_is_left_out(spans: Spans) -> None:
    tracer = spans._provider.get_tracer("tests")
    with (
        pytest.raises(RuntimeError),
        tracer.start_as_current_span(
            f"GET /{CANARY}?", attributes={"new.attribute": CANARY, "http.route": "api/x"}
        ),
    ):
        raise RuntimeError(CANARY)
    (span,) = spans.exported()
    assert CANARY in spans.noted()
    assert CANARY not in span.to_json()
    assert json.loads(span.to_json())["status"] == {"status_code": "ERROR"}
    assert span.resource.attributes == {"service.name": "keeper"}


@pytest.mark.every_database
@pytest.mark.django_db
def test_a_task_of_the_worker_and_a_statement_of_its_database_are_traced_without_values(spans: Spans) -> None:
    # The suite's own connection is older than the instrumentation.
    other = connections.create_connection(DEFAULT_DB_ALIAS)
    with closing(other), other.cursor() as cursor:
        cursor.execute(f"SELECT %s, '{CANARY}'", [CANARY])
    # No id: it fails, and the exception repeats it.
    assert execute_run.apply(args=(CANARY,)).failed()
    exported = spans.exported()
    assert CANARY in spans.noted()
    assert CANARY not in "".join(span.to_json() for span in exported)
    found = {(span.name, span.kind.name, span.status.status_code.name) for span in exported}
    assert ("SELECT", "CLIENT", "UNSET") in found, found
    assert (f"run/{execute_run.name}", "CONSUMER", "ERROR") in found, found
    systems = {(span.attributes or {}).get("db.system") for span in exported if span.name == "SELECT"}
    assert systems == {"mysql" if connection.vendor == "mysql" else "sqlite"}


def test_a_read_in_front_of_django_has_the_name_of_its_route(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opentelemetry.trace.get_tracer", spans._provider.get_tracer)
    front = tracing.traced(lambda environ: environ["answer"])
    unchanged = Answer("304 Not Modified", [])
    for method, path, answer in (
        ("GET", f"/api/environments/{CANARY}/secrets/{CANARY}", unchanged),
        ("GET", f"/vault/v1/secret/data/{CANARY}", Answer("200 OK", [])),
        ("POST", "/aws", Answer("200 OK", [])),
        ("GET", f"/api/secrets/{CANARY}", None),
    ):
        assert front({"REQUEST_METHOD": method, "PATH_INFO": path, "answer": answer}) is answer
    found = [
        (span.name, (span.attributes or {})["http.response.status_code"], span.kind.name)
        for span in spans.exported()
    ]
    assert found == [
        ("GET api/environments/<str:environment>/secrets/<path:name>", 304, "SERVER"),
        ("GET vault/v1/<str:mount>/data/<path:path>", 200, "SERVER"),
        ("POST aws", 200, "SERVER"),
    ]
    assert CANARY not in "".join(span.to_json() for span in spans.exported())


def test_a_caller_cannot_choose_to_be_traced(spans: Spans, settings: Settings) -> None:
    settings.KEEPER_TRACES_RATIO = 0.0
    chosen = InMemorySpanExporter()
    provider = tracing.provider_for(chosen)
    context = propagate.extract({"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"})
    provider.get_tracer("tests").start_span("asked for", context).end()
    provider.shutdown()
    assert chosen.get_finished_spans() == ()


def test_traces_without_their_packages_are_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"database_engine": "django.db.backends.sqlite3", "redis_url": "", "broker_url": "memory://"}
    assert list(missing(**options, traces_url="http://collector:4318/v1/traces")) == []
    monkeypatch.setattr("keeper_project.startup.find_spec", lambda _: None)
    assert list(missing(**options, traces_url="")) == []
    (sentence,) = missing(**options, traces_url="http://collector:4318/v1/traces")
    assert "requirements-otel.txt" in sentence
