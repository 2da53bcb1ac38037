"""The search over everything: what it finds, that it is bounded, recorded, and for administrators alone."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit_app.models import AuditEvent, SearchEntry
from audit_app.queries import search
from environments_app.models import User
from environments_app.tests.cast import Cast
from environments_app.tokens import service as tokens
from operations_app.admin_site.search import SHOWN
from secrets_app.services import write
from secrets_app.types.registry import SecretType
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.django_db
SEARCH = "/admin/search/"


@pytest.fixture
def root(cast: Cast, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(cast.root)


def make_secret(cast: Cast, name: str) -> None:
    write.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name=name,
        secret_type=SecretType.PASSWORD,
        value="canary-10ab",
    )


def found(root: Client, text: str) -> dict[str, list[str]]:
    hits = root.get(SEARCH, {"q": text}).context["found"]
    return {each.label: [row.name for row in each.rows] for each in hits}


def test_it_finds_people_environments_secrets_tokens_and_targets(root: Client, cast: Cast) -> None:
    make_secret(cast, "billing/key")
    make_target(cast.development, "billing-vault")
    tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.development, name="billing-ci", role="reader"
    )
    hits = found(root, "billing")
    assert hits["Secrets"] == ["billing/key"]
    assert hits["Sync targets"] == ["billing-vault"]
    assert hits["Service tokens"] == ["billing-ci"]
    assert found(root, "ali")["People"] == ["alice"]
    assert found(root, cast.development.name[:5])["Environments"] == [cast.development.name]


def test_it_finds_a_request_and_an_address_in_the_audit_log(root: Client, cast: Cast) -> None:
    make_secret(cast, "billing/key")
    event = AuditEvent.objects.exclude(address="").first()
    assert event is not None
    assert "Audit events" in found(root, event.address)


def test_it_shows_no_value_and_few_rows_in_a_constant_number_of_statements(root: Client, cast: Cast) -> None:
    make_secret(cast, "many/first")
    root.get(SEARCH, {"q": "many"})
    with CaptureQueriesContext(connection) as few:
        root.get(SEARCH, {"q": "many"})
    for number in range(12):
        make_secret(cast, f"many/{number}")
    root.get(SEARCH, {"q": "many"})
    with CaptureQueriesContext(connection) as many:
        page = root.get(SEARCH, {"q": "many"})
    assert len(many) == len(few) <= 32
    assert len(found(root, "many")["Secrets"]) == SHOWN
    assert "canary-10ab" not in page.text


def test_that_the_audit_log_was_searched_is_recorded_without_the_text(root: Client, cast: Cast) -> None:
    root.get(SEARCH, {"q": "typed-by-hand"})
    event = AuditEvent.objects.filter(action="trail.view").latest("pk")
    assert event.details == '{"face":"admin","filters":{"q":"typed"}}'
    assert not AuditEvent.objects.filter(details__contains="typed-by-hand").exists()


@pytest.mark.parametrize("text", ["", "%", "_", "'", "\\", "9" * 40, "x" * 5000, "\u0000", "🙂"])
def test_it_answers_any_text(root: Client, cast: Cast, text: str) -> None:
    assert root.get(SEARCH, {"q": text}).status_code == 200


def test_it_is_for_administrators(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    answer = signed_in(cast.alice).get(SEARCH, {"q": "a"})
    assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (302, "/admin/login/")


def test_it_looks_at_so_many_events_and_says_so(
    root: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        make_secret(cast, f"billing/{number}")
    said = "not all were looked at"
    assert said not in root.get(SEARCH, {"q": "billing/"}).content.decode()
    monkeypatch.setattr(search, "_LOOKED_AT", 3)
    page = root.get(SEARCH, {"q": "billing/"})
    assert said in page.content.decode()
    (hits,) = [each for each in page.context["found"] if each.label == "Audit events"]
    assert [row.name.partition(": ")[2] for row in hits.rows] == ["billing/3", "billing/2", "billing/1"]
    # A whole name is found however many begin like it.
    assert "alice: billing/0" in found(root, "billing/0")["Audit events"]


def test_an_event_that_the_search_table_misplaces_is_not_found(root: Client, cast: Cast) -> None:
    make_secret(cast, "billing/key")
    found(root, "billing")
    SearchEntry._base_manager.filter(object_name="billing/key").update(object_name="nowhere")
    assert "Audit events" not in found(root, "nowhere")
