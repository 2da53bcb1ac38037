"""A poll that is answered 304 is noted as asked, once an hour, and records no event."""

from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client

from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from secrets_app.models import NO_SECRET, LastAsked
from secrets_app.queries import last_asked
from secrets_app.services.usage import usage_report
from secrets_app.tests.kept import change, keep

pytestmark = pytest.mark.every_database


@pytest.fixture(autouse=True)
def unnoted() -> None:
    last_asked._noted.clear()
    last_asked._waiting.clear()


def reader(cast: Cast, bearer: Any) -> Client:
    client: Client = bearer("reader", cast.development)
    return client


def test_each_way_to_a_304_is_noted_and_records_nothing(cast: Cast, bearer: Any) -> None:
    secret, client = keep(cast), reader(cast, bearer)
    place = "/api/environments/development"
    for path, uuid, number in (
        (f"/api/secrets/{secret.pk}", secret.uuid, 1),
        (f"{place}/secrets/{secret.name}", secret.uuid, 1),
        (f"{place}/export", NO_SECRET, None),
        (f"{place}/manifest?prefix=payments", NO_SECRET, None),
    ):
        LastAsked.objects.all().delete()
        last_asked._noted.clear()
        etag = client.get(path)["ETag"]
        before = AuditEvent.objects.count()
        assert not LastAsked.objects.exists()
        assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
        (mark,) = LastAsked.objects.all()
        assert (mark.secret_uuid, mark.number, mark.actor_kind) == (uuid, number, "token"), path
        assert mark.environment_uuid == cast.development.uuid
        assert mark.prefix == ("payments" if "manifest" in path else "")
        assert AuditEvent.objects.count() == before


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("", {"pay", "pay/key", "payments/key"}), ("pay", {"pay", "pay/key"}), ("pay/key", {"pay/key"})],
)
def test_who_asks_for_a_path_asks_for_the_names_under_it_alone(
    cast: Cast, prefix: str, expected: set[str]
) -> None:
    secrets = [keep(cast, name) for name in ("pay", "pay/key", "payments/key")]
    last_asked.note_at_once(cast.principal(cast.bob), environment=cast.development.uuid, prefix=prefix)
    alice, asked = cast.principal(cast.alice), set[str]()
    for secret in secrets:
        secret.environment = cast.development
        readers = usage_report(actor=alice, secret=secret).readers
        asked |= {secret.name for reader in readers if reader.name == "bob" and reader.asked_at}
    assert asked == expected


def test_a_caller_is_noted_once_an_hour_and_at_once_with_another_version(cast: Cast, bearer: Any) -> None:
    secret, client = keep(cast), reader(cast, bearer)
    path = f"/api/secrets/{secret.pk}"
    client.get(path)

    def poll() -> None:
        etag = client.get(path)["ETag"]
        assert client.get(path, headers={"If-None-Match": etag}).status_code == 304

    poll()
    first = LastAsked.objects.get()
    poll()
    assert LastAsked.objects.get().asked_at == first.asked_at
    change(cast, secret, "another value")
    poll()
    mark = LastAsked.objects.get()
    assert (mark.pk, mark.number) == (first.pk, 2)


def test_refused_and_head_requests_are_no_marks(cast: Cast, bearer: Any) -> None:
    secret = keep(cast)
    viewer = bearer("viewer", cast.development)
    viewer.get(f"/api/secrets/{secret.pk}", headers={"If-None-Match": f'"{secret.etag}"'})
    assert not LastAsked.objects.exists()


def test_an_installation_that_is_not_active_stores_none(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_asked, "is_active", lambda: False)
    last_asked.note_at_once(cast.principal(cast.bob), environment=cast.development.uuid)
    assert not LastAsked.objects.exists()


def test_a_mark_that_is_not_stored_delays_no_answer_and_is_noted_again(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, place = cast.principal(cast.bob), cast.development.uuid

    def fail() -> bool:
        raise DatabaseError

    with monkeypatch.context() as patch:
        patch.setattr(last_asked, "is_active", fail)
        last_asked.note_at_once(bob, environment=place)
    last_asked.note_at_once(bob, environment=place)
    assert LastAsked.objects.count() == 1
