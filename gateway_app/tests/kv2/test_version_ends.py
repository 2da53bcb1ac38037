"""`delete_version_after`: a version ends at its time for every reader, and a worker then deletes its secret."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.models import AuditEvent
from environments_app.models import Environment
from environments_app.tests.cast import Cast
from gateway_app.tests.kv2.conftest import Ask, token
from gateway_app.tests.kv2.test_numbers import Send, of_keeper, of_openbao
from secrets_app import interfaces
from secrets_app.errors import InvalidInput
from secrets_app.models import Secret, SecretVersion
from secrets_app.models.version_rules import MAX_GONE
from secrets_app.services import bulk_create, read, versions, write
from secrets_app.services.bulk_create import NewSecret
from secrets_app.tasks import delete_ended_versions
from secrets_app.tests.kept import keep
from secrets_app.types.registry import SecretType
from tests.servers.fixtures import openbao

__all__ = ["openbao"]
pytestmark = pytest.mark.django_db(transaction=True)
Later = Callable[[int], None]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Move the clock by so many seconds."""
    real = timezone.now
    # The default of a column keeps the function that it was declared with.
    created = SecretVersion._meta.get_field("created_at")
    monkeypatch.setattr(created, "_get_default", lambda: timezone.now())  # noqa: PLW0108 - looked up each time

    def move(seconds: int) -> None:
        monkeypatch.setattr(timezone, "now", lambda: real() + timedelta(seconds=seconds))

    return move


def sent(ask: Ask, method: str, path: str, status: int, body: Any = None, **options: Any) -> Any:
    answer = ask(method, path, json.dumps(body).encode() if body is not None else b"", **options)
    assert answer.status_code == status, answer.content
    return answer.json() if answer.content else None


def write_ending(ask: Ask, seconds: int = 60) -> None:
    sent(ask, "POST", "secret/data/app/db", 200, {"data": {"value": "first"}})
    sent(ask, "POST", "secret/metadata/app/db", 204, {"delete_version_after": f"{seconds}s"})
    told = sent(ask, "POST", "secret/data/app/db", 200, {"data": {"value": "second"}})["data"]
    assert moment(told["deletion_time"]) - moment(told["created_time"]) == timedelta(seconds=seconds)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text[:26]).replace(tzinfo=UTC)


def rest(cast: Cast, path: str, **headers: str) -> Any:
    bearer = {"Authorization": f"Bearer {token(cast, 'reader')}", **headers}
    return Client().get(f"/api/{path}", headers=bearer)


def test_a_version_ends_at_its_time_for_every_reader(cast: Cast, ask: Ask, later: Later) -> None:
    write_ending(ask)
    keep(cast, "app/other", value="stays")
    before = rest(cast, "environments/development/secrets/app/db")
    assert before.json()["value"] == "second"
    exported = rest(cast, "environments/development/export?format=json").json()
    assert exported["app/db"] == "second"
    assert sent(ask, "GET", "secret/data/app/db", 200)["data"]["metadata"]["deletion_time"]
    later(61)
    gone = sent(ask, "GET", "secret/data/app/db", 404)["data"]
    assert (gone["data"], bool(gone["metadata"]["deletion_time"])) == (None, True)
    assert sent(ask, "GET", "secret/subkeys/app/db", 404)["data"]["subkeys"] is None
    assert sent(ask, "GET", "secret/data/app/db?version=1", 200)["data"]["data"] == {"value": "first"}
    known = {"If-None-Match": before["ETag"]}
    for path in ("app/db", "app/db?stage=current"):
        answer = rest(cast, f"environments/development/secrets/{path}", **known)
        assert (answer.status_code, b"second" in answer.content) == (404, False)
    after = rest(cast, "environments/development/export?format=json").json()
    assert after == {"app/other": "stays"}


def test_a_worker_deletes_the_secret_and_says_why(cast: Cast, ask: Ask, later: Later) -> None:
    write_ending(ask)
    delete_ended_versions()
    assert Secret.objects.get(name="app/db").live
    later(61)
    delete_ended_versions()
    secret = Secret.objects.get(name="app/db")
    assert (secret.live, secret.is_withdrawn) == (None, True)
    event = AuditEvent.objects.filter(action="secret.delete").latest("id")
    assert json.loads(event.details)["because"] == "delete_version_after"
    # A new value brings it back, and ends as well.
    assert sent(ask, "POST", "secret/data/app/db", 200, {"data": {"value": "x"}})["data"]["version"] == 3
    assert Secret.objects.get(name="app/db").version_ends_at


def test_a_value_that_is_written_meanwhile_is_not_deleted(
    cast: Cast, ask: Ask, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ending(ask)
    later(61)
    taken = interfaces.run_write_guards

    def written(**options: Any) -> Any:
        monkeypatch.setattr(versions, "run_write_guards", taken)
        sent(ask, "POST", "secret/data/app/db", 200, {"data": {"value": "third"}})
        return taken(**options)

    monkeypatch.setattr(versions, "run_write_guards", written)
    assert versions.delete_ended() == 0
    assert sent(ask, "GET", "secret/data/app/db", 200)["data"]["data"] == {"value": "third"}


def test_an_edited_time_deletes_nothing(cast: Cast, ask: Ask) -> None:
    write_ending(ask)
    Secret.objects.filter(name="app/db").update(version_ends_at=timezone.now() - timedelta(days=1))
    assert versions.delete_ended() == 0
    assert Secret.objects.get(name="app/db").live


def test_undelete_gives_a_version_its_time_again(ask: Ask, later: Later) -> None:
    write_ending(ask)
    later(61)
    delete_ended_versions()
    sent(ask, "POST", "secret/undelete/app/db", 204, {"versions": [2]})
    assert sent(ask, "GET", "secret/data/app/db", 200)["data"]["data"] == {"value": "second"}
    later(130)
    sent(ask, "GET", "secret/data/app/db", 404)
    sent(ask, "POST", "secret/metadata/app/db", 204, {"delete_version_after": 0})
    sent(ask, "POST", "secret/undelete/app/db", 204, {"versions": [2]})
    later(10_000)
    delete_ended_versions()
    sent(ask, "GET", "secret/data/app/db", 200)


def test_the_same_value_through_the_api_is_a_version_with_a_time_of_its_own(
    cast: Cast, ask: Ask, later: Later
) -> None:
    write_ending(ask)
    later(30)
    secret = Secret.objects.select_related("environment").get(name="app/db")
    write.update(actor=cast.principal(cast.alice), secret=secret, value="second")
    later(80)
    assert sent(ask, "GET", "secret/data/app/db", 200)["data"]["metadata"]["version"] == 3


def test_the_shorter_time_of_mount_and_secret_counts_and_a_negative_one_ends_none(
    cast: Cast, ask: Ask
) -> None:
    manager = token(cast, "manager")
    sent(ask, "POST", "secret/config", 204, {"delete_version_after": "10s"}, token=manager)
    write_ending(ask, 5)
    for path, body in (("config", {}), ("config", {"delete_version_after": None})):
        sent(ask, "POST", f"secret/{path}", 204, body, token=manager)
    sent(ask, "POST", "secret/metadata/app/db", 204, {"delete_version_after": "1h"})
    write.create(
        actor=cast.principal(cast.alice), environment=fresh(cast), name="one", secret_type=None, value="x"
    )
    bulk_create.create_many(
        actor=cast.principal(cast.alice),
        items=[NewSecret(environment=fresh(cast), name="many", secret_type=SecretType.TEXT, value="x")],
    )
    sent(ask, "POST", "secret/data/app/db", 200, {"data": {"value": "x"}})
    for secret in Secret.objects.all():
        assert secret.is_authentic()
        assert secret.version_ends_at is not None
        assert timedelta(seconds=8) < secret.version_ends_at - timezone.now() < timedelta(seconds=11)
    sent(ask, "POST", "secret/config", 204, {"delete_version_after": "-1s"}, token=manager)
    assert sent(ask, "GET", "secret/config", 200)["data"]["delete_version_after"] == "-1s"
    sent(ask, "POST", "secret/data/app/db", 200, {"data": {"value": "y"}})
    assert Secret.objects.get(name="app/db").version_ends_at is None


def test_a_secret_holds_a_bounded_number_of_times(cast: Cast, ask: Ask) -> None:
    write_ending(ask)
    secret = Secret.objects.select_related("environment").get(name="app/db")
    gone = {number: timezone.now() for number in range(1_000, 1_000 + MAX_GONE)}
    secret.rules = type(secret.rules)(deleted=gone, delete_version_after=5)
    secret.save()
    with pytest.raises(InvalidInput, match="at most 2,000"):
        write.update(actor=cast.principal(cast.alice), secret=secret, value="z", anew=True)


def test_a_share_opens_no_version_whose_time_is_over(cast: Cast, ask: Ask, later: Later) -> None:
    write_ending(ask)
    wrapped = sent(ask, "GET", "secret/data/app/db", 200, X_Vault_Wrap_TTL="5m")["wrap_info"]["token"]
    later(61)
    sent(ask, "POST", "sys/wrapping/unwrap", 400, token=wrapped)


@pytest.mark.parametrize("given", ['"-1s"', '"abc"', "[]", "{}", "true"])
def test_what_is_no_duration_is_refused_as_openbao_does(ask: Ask, openbao: Any, given: str) -> None:
    bao, keeper = pair(ask, openbao)
    for send in (bao, keeper):
        send("POST", "secret/data/bad", {"data": {"a": "b"}})
    body = {"delete_version_after": json.loads(given)}
    assert [send("POST", "secret/metadata/bad", body)[0] for send in (bao, keeper)] == [400, 400]


@pytest.mark.parametrize("given", ["30s", "1h", 90, "1500ms", 0, "0", "100000h"])
def test_it_is_shown_as_openbao_does(ask: Ask, openbao: Any, given: Any) -> None:
    shown = []
    for send in pair(ask, openbao):
        send("POST", "secret/data/good", {"data": {"a": "b"}})
        status, _ = send("POST", "secret/metadata/good", {"delete_version_after": given})
        shown.append((status, send("GET", "secret/metadata/good", None)[1]["data"]["delete_version_after"]))
    assert shown[0] == shown[1]


def pair(ask: Ask, openbao: Any) -> tuple[Send, Send]:
    return of_openbao(openbao), of_keeper(ask)


def fresh(cast: Cast) -> Environment:
    return Environment.objects.get(pk=cast.development.pk)


def test_a_read_of_many_by_name_leaves_out_what_ended(cast: Cast, ask: Ask, later: Later) -> None:
    write_ending(ask)
    later(61)
    exported = read.reveal_environment(actor=cast.principal(cast.alice), environment=fresh(cast))
    assert [each.name for each in exported] == []
