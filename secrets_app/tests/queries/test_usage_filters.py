"""Filters of the list by use: what was read, exported, delivered or asked for is never called unused."""

from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.db.models import F
from django.test import Client
from django.utils import timezone

from audit_app.models import ManifestUse, SecretUse
from audit_app.queries import usage_index
from environments_app.models import User
from environments_app.tests.cast import Cast
from secrets_app.models import LastAsked, Secret
from secrets_app.queries import last_asked
from secrets_app.queries.filters import narrow
from secrets_app.queries.lookup import visible_secrets
from secrets_app.services import read, transfer, write
from secrets_app.tests.kept import change, keep

pytestmark = pytest.mark.every_database


def names(cast: Cast, user: User, **parameters: str) -> set[str]:
    actor = cast.principal(user)
    return set(narrow(visible_secrets(actor), parameters, actor=actor).values_list("name", flat=True))


def age(days: float) -> None:
    """Make all that happened so far so many days older."""
    back = timedelta(days=days)
    Secret.objects.update(created_at=F("created_at") - back)
    SecretUse.objects.update(last_at=F("last_at") - back)
    ManifestUse.objects.update(marked_at=F("marked_at") - back)
    LastAsked.objects.update(asked_at=F("asked_at") - back)


@pytest.fixture(autouse=True)
def unnoted() -> None:
    last_asked._noted.clear()
    last_asked._waiting.clear()


def test_a_secret_that_was_read_exported_or_asked_for_is_not_unused(cast: Cast) -> None:
    secrets = {name: keep(cast, name) for name in ("read", "never", "asked", "app/listed", "written")}
    age(100)
    bob = cast.principal(cast.bob)
    read.reveal(actor=bob, secret=Secret.objects.get(pk=secrets["read"].pk))
    asked = secrets["asked"]
    last_asked.note_at_once(bob, environment=cast.development.uuid, secret=asked.uuid, number=1)
    last_asked.note_at_once(bob, environment=cast.development.uuid, prefix="app")
    change(cast, secrets["written"], "another value")
    assert names(cast, cast.alice, unused="90") == {"never", "written"}
    read.reveal_environment(actor=bob, environment=cast.development, prefix="never")
    assert names(cast, cast.alice, unused="90") == {"written"}


def test_a_secret_that_is_younger_is_not_unused(cast: Cast) -> None:
    keep(cast, "new")
    assert names(cast, cast.alice, unused="2") == set()
    age(3)
    assert names(cast, cast.alice, unused="2") == {"new"}


def test_a_list_that_was_asked_for_covers_its_path_alone(cast: Cast) -> None:
    for name in ("app", "app/db", "apple", "other"):
        keep(cast, name)
    age(10)
    last_asked.note_at_once(cast.principal(cast.bob), environment=cast.development.uuid, prefix="app")
    assert names(cast, cast.alice, unused="5") == {"apple", "other"}
    last_asked.note_at_once(cast.principal(cast.bob), environment=cast.development.uuid)
    assert names(cast, cast.alice, unused="5") == set()


def test_those_who_may_not_read_the_log_find_nothing_by_it(cast: Cast) -> None:
    keep(cast, "a")
    age(10)
    User.objects.filter(pk=cast.bob.pk).update(is_active=False)
    for user in (cast.erin, cast.vera):
        assert names(cast, user, unused="5") == set()
    assert names(cast, cast.root, unused="5") == names(cast, cast.alice, unused="5") == {"a"}


def test_what_people_know_who_left_is_found_until_the_value_changes(cast: Cast) -> None:
    alone, along = keep(cast, "alone"), keep(cast, "path/along")
    keep(cast, "unread")
    bob = cast.principal(cast.bob)
    read.reveal(actor=bob, secret=alone)
    read.reveal_environment(actor=bob, environment=cast.development, prefix="path")
    assert names(cast, cast.alice, known_to="left") == set()
    User.objects.filter(pk=cast.bob.pk).update(is_active=False)
    assert names(cast, cast.alice, known_to="left") == {"alone", "path/along"}
    for secret in (alone, along):
        change(cast, secret, "v2")
    Secret.objects.update(previous_number=None)
    assert names(cast, cast.alice, known_to="left") == set()


@pytest.mark.parametrize("stage", ["previous_number", "pending_number"])
def test_what_people_know_who_left_is_found_while_it_is_served_beside_the_current_value(
    cast: Cast, stage: str
) -> None:
    for name, part in (("alone", ""), ("path/along", "path")):
        secret = keep(cast, name)
        if part:
            read.reveal_environment(actor=cast.principal(cast.bob), environment=cast.development, prefix=part)
        else:
            read.reveal(actor=cast.principal(cast.bob), secret=secret)
        change(cast, secret, "v2")
    User.objects.filter(pk=cast.bob.pk).update(is_active=False)
    Secret.objects.update(previous_number=None)
    assert names(cast, cast.alice, known_to="left") == set()
    Secret.objects.update(**{stage: 1})
    assert names(cast, cast.alice, known_to="left") == {"alone", "path/along"}


def test_what_the_tables_may_be_behind_is_not_called_unused(cast: Cast) -> None:
    used, asked = keep(cast, "read"), keep(cast, "asked")
    keep(cast, "never")
    age(100)
    bob = cast.principal(cast.bob)
    read.reveal(actor=bob, secret=Secret.objects.get(pk=used.pk))
    last_asked.note_at_once(bob, environment=cast.development.uuid, secret=asked.uuid, number=1)
    usage_index.catch_up()
    lag = timedelta(hours=1) / timedelta(days=1)
    age(5 + lag)
    assert names(cast, cast.alice, unused="5") == {"never"}
    age(5 * lag)
    assert names(cast, cast.alice, unused="5") == {"asked", "never", "read"}


def test_owner_none_finds_those_without_one(cast: Cast) -> None:
    keep(cast, "a")
    keep(cast, "b", owner="ops")
    keep(cast, "c", owner="none")
    assert names(cast, cast.bob, owner="none") == {"a", "c"}
    assert names(cast, cast.bob, owner="ops") == {"b"}


def test_nothing_that_was_used_is_called_unused_in_random_histories(cast: Cast) -> None:
    random = Random(11)
    secrets = [keep(cast, f"part{number % 3}/s{number}") for number in range(9)]
    used: dict[str, datetime] = {}
    bob = cast.principal(cast.bob)
    age(400)
    for _ in range(60):
        secret = random.choice(secrets)
        now = timezone.now()
        act = random.choice(["read", "export", "ask", "wait"])
        if act == "read":
            read.reveal(actor=bob, secret=Secret.objects.get(pk=secret.pk))
            used[secret.name] = now
        elif act == "export":
            part = secret.name.partition("/")[0]
            read.reveal_environment(actor=bob, environment=cast.development, prefix=part)
            used |= {other.name: now for other in secrets if other.name.startswith(f"{part}/")}
        elif act == "ask":
            last_asked._noted.clear()
            last_asked.note_at_once(bob, environment=cast.development.uuid, secret=secret.uuid, number=1)
            used[secret.name] = now
        else:
            days = random.choice([0.2, 1, 5])
            usage_index.fill()
            age(days)
            used = {name: at - timedelta(days=days) for name, at in used.items()}
        wanted = random.choice([2, 5, 20])
        begin = timezone.now() - timedelta(days=wanted)
        found = names(cast, cast.alice, unused=str(wanted))
        assert not {name for name, at in used.items() if at >= begin} & found
        # Nor is one called used that was not, but for the hours that the tables may lag.
        surely = begin - timedelta(hours=usage_index.MARK_HOURS + 1)
        assert {s.name for s in secrets if used.get(s.name, surely) <= surely} <= found


def test_the_page_and_the_api_take_them(cast: Cast, signed_in: Any) -> None:
    keep(cast, "old/one")
    age(100)
    client: Client = signed_in(cast.alice)
    page = client.get("/secrets?use=unused-90&environment=development").content.decode()
    assert "old/one" in page
    assert "Used means read, exported, delivered, or asked for by a program that had it already." in page
    assert "Not used for 90 days" in page
    answer = client.get("/api/secrets?unused=90").json()
    assert [row["name"] for row in answer["results"]] == ["old/one"]
    assert client.get("/api/secrets?unused=x").status_code == 400


def test_a_leaver_knows_what_came_of_a_version_that_they_read(cast: Cast) -> None:
    alice, bob = cast.principal(cast.alice), cast.principal(cast.bob)
    rolled, moved, other = (keep(cast, name) for name in ("rolled", "moved", "other"))
    for secret in (rolled, moved):
        read.reveal(actor=bob, secret=secret)
    for secret in (rolled, other):
        for value in ("v2", "v3", "v4"):
            change(cast, secret, value)
    cast.bob.is_active = False
    cast.bob.save()
    assert names(cast, cast.alice, known_to="left") == {"moved"}
    rolled.refresh_from_db()
    write.rollback(actor=alice, secret=rolled, number=1)
    transfer.copy(actor=alice, secret=moved, environment=cast.production, name="copied")
    transfer.move(actor=alice, secret=moved, environment=cast.production, name="there")
    assert names(cast, cast.alice, known_to="left") == {"rolled", "copied", "there"}
