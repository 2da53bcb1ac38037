"""A protocol of another package: an entry of KEEPER_PROTOCOLS gives it addresses, a lane and a description."""

import importlib
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import clear_url_caches, path
from pytest_django import Settings

from audit_app.models import AuditEvent, RefusalCount
from core.http.problems import problem_of
from environments_app.environments.service import find_environment_by_id
from environments_app.tests.cast import Cast
from gateway_app.engine.reads import ReadRequest
from gateway_app.lanes import Lanes, PlainRead, Route, bearer, caller_of, is_plain
from gateway_app.protocol import Protocol, ProtocolView, describe_protocols, doors, signed_in
from gateway_app.tests.engine.inline import Inline
from secrets_app.keys.data_keys import forget_data_keys
from secrets_app.queries.lookup import find_secret_by_name
from secrets_app.services.read import reveal
from secrets_app.tests.kept import keep
from tests.api.test_recorded_read import FrontedClient, Told, told

pytestmark = pytest.mark.django_db
NAMED: dict[str, Any] = {"protocol": "text"}


def text(content: str, status: int = HTTPStatus.OK) -> HttpResponse:
    return HttpResponse(content, status=status, content_type="text/plain")


class TextView(ProtocolView):
    """A value of the token's environment, as text."""

    def admit(self, request: HttpRequest) -> None:
        self.actor = signed_in(request, bearer(request))

    def get(self, request: HttpRequest, name: str) -> HttpResponse:
        """Return a value."""
        place = find_environment_by_id(actor=self.actor, id=self.actor.grants[0].environment_id)
        secret = find_secret_by_name(actor=self.actor, environment=place, name=name)
        return text(reveal(actor=self.actor, secret=secret, details=NAMED).value)

    def failed(self, error: Exception) -> HttpResponse | None:
        problem = problem_of(error)
        return text(problem.title, problem.status) if problem else None


VALUE = Route("text-value")


def read(request: HttpRequest) -> PlainRead | None:
    found = VALUE.match(request) if is_plain(request) else None
    caller = caller_of(request, bearer(request)) if found else None
    if not found or not caller:
        return None
    asked = ReadRequest(*caller, name=found["name"], details=NAMED)
    return PlainRead(
        asked, VALUE, lambda _, value: text(value), lambda problem: text(problem.title, problem.status)
    )


TEXT = Protocol(
    "text/",
    [path("<path:name>", TextView.as_view(), name="text-value")],
    (read,),
    lambda *_: {"tags": ["Text"], "responses": {"200": {"description": "The value."}}},
)


@pytest.fixture(autouse=True)
def added(settings: Settings) -> Iterator[None]:
    """Add the protocol to the setting, from which all else follows."""
    before = settings.KEEPER_PROTOCOLS
    settings.KEEPER_PROTOCOLS = [*before, f"{__name__}.TEXT"]
    _load(settings.ROOT_URLCONF)
    yield
    settings.KEEPER_PROTOCOLS = before
    _load(settings.ROOT_URLCONF)


def _load(urls: str) -> None:
    importlib.reload(importlib.import_module(urls))
    clear_url_caches()


def both(client: Client, name: str) -> tuple[Told, list[bool]]:
    """Ask in front of Django and Django alone; return the equal answer, and what the lane granted."""
    answered: list[bool] = []
    lanes = Lanes(Inline(), doors())

    def front(environ: dict[str, Any]) -> Any:
        answer = lanes(environ)
        answered.append(answer is not None)
        return answer

    hot = told(FrontedClient(front, client.defaults), f"/text/{name}", "get", {})
    assert hot == told(FrontedClient(lambda _: None, client.defaults), f"/text/{name}", "get", {})
    return hot, answered


def test_its_lane_and_its_view_answer_and_record_alike(cast: Cast, bearer: Callable[..., Client]) -> None:
    keep(cast, "app/key", "s3cret")
    client = bearer("reader", cast.development)
    answer, answered = both(client, "app/key")
    assert (answer.status, answer.body, answered) == (200, b"s3cret", [True])
    assert NAMED["protocol"] in answer.events[0][-1]
    forget_data_keys()
    assert both(client, "app/key")[0].body == b"s3cret"


def test_it_answers_errors_in_its_own_form(cast: Cast, bearer: Callable[..., Client]) -> None:
    keep(cast, "first", environment=cast.production)
    answer, answered = both(bearer("reader", cast.development), "absent")
    assert (answer.status, answer.body, answered) == (404, b"Not found", [False])
    refused = Client().get("/text/absent")
    assert (refused.status_code, refused["Content-Type"]) == (401, "text/plain")
    assert RefusalCount.objects.exists()
    assert not AuditEvent.objects.filter(action="secret.reveal").exists()


def test_the_openapi_document_has_it() -> None:
    described: dict[str, Any] = {"paths": {}, "components": {}}
    describe_protocols(described)
    operation = described["paths"]["/text/{name}"]["get"]
    assert (operation["summary"], operation["tags"]) == ("Return a value.", ["Text"])
    assert [each["name"] for each in operation["parameters"]] == ["name"]
