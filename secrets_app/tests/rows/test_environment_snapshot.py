"""Snapshots of environments: they answer and record as the rows do, or are not used."""

import marshal
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.test import Client
from django.utils import timezone
from hypothesis import example, given
from hypothesis import strategies as st

from audit_app.events.actions import Action
from audit_app.models import AuditEvent, ReadManifestItem
from environments_app.environments import memberships
from environments_app.errors import Forbidden, Invisible
from environments_app.models import Membership, User
from environments_app.tests.cast import Cast, make_cast
from secrets_app import envelope
from secrets_app.errors import KeyUnavailable, SecretError
from secrets_app.key_operations.rotation import rotations
from secrets_app.keys import data_keys
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import EnvironmentSnapshot, Secret, SecretVersion
from secrets_app.rows import current_versions, environment_snapshot
from secrets_app.rows.current_versions import StoredRows, stored_rows
from secrets_app.services import lifecycle
from secrets_app.services.guarded import guard
from secrets_app.services.lifecycle import purge_expired
from secrets_app.services.read import ExportedValue, reveal_environment
from secrets_app.tests.at_once import at_once
from secrets_app.tests.kept import VALUE, change, keep

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
Sql = Callable[..., None]
NAMES = ("a", "b/c", "b/d", "e")
PATH = "/api/environments/development/export"


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_snapshot, "MIN_SECRETS", 2)


class Told(NamedTuple):
    """What a read answered, and what it recorded."""

    answer: Any
    events: list[tuple[Any, ...]]


def told(cast: Cast, actor: User | None = None) -> Told:
    """Export development, and return what came of it; violations are reported each time."""
    cache.clear()
    last = AuditEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0
    answer: Any
    try:
        answer = reveal_environment(actor=cast.principal(actor or cast.alice), environment=cast.development)
    except Exception as error:  # noqa: BLE001 - compared
        answer = (type(error), str(error))
    return Told(answer, recorded(last))


def recorded(after: int) -> list[tuple[Any, ...]]:
    return [
        (
            (event.actor_name, event.action, event.object_name, event.outcome, event.details),
            sorted(
                ReadManifestItem.objects.filter(manifest=event.manifest_id or 0).values_list(
                    "secret_uuid", "number", "name"
                )
            ),
        )
        for event in AuditEvent.objects.filter(id__gt=after).order_by("id")
    ]


def with_snapshot(cast: Cast, environment: Any = None) -> EnvironmentSnapshot:
    """Read until an environment has a snapshot."""
    place = environment or cast.development
    for _ in range(2):
        reveal_environment(actor=cast.principal(cast.alice), environment=place)
        environment_snapshot.store_prepared()
    return EnvironmentSnapshot.objects.get(environment=place)


@contextmanager
def opening() -> Iterator[list[int]]:
    """Yield a list of how many bytes each envelope had that is opened inside."""
    found: list[int] = []
    genuine = envelope.open_bound

    def watched(stored: bytes, **options: Any) -> bytes:
        found.append(len(stored))
        return genuine(stored, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(envelope, "open_bound", watched)
        yield found


@contextmanager
def without_snapshots() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(environment_snapshot, "find", lambda *_: None)
        yield


def fill(cast: Cast) -> None:
    for name in NAMES:
        keep(cast, name, f"{VALUE} of {name}")


def test_the_third_read_of_equal_rows_opens_one_envelope_and_is_as_the_first(cast: Cast) -> None:
    fill(cast)
    found, opened = [], []
    for _ in range(4):
        with opening() as envelopes:
            found.append(told(cast))
        environment_snapshot.store_prepared()
        opened.append(len(envelopes))
    assert opened == [4, 4, 1, 1]
    assert found == [found[0]] * 4
    assert found[0].answer == [ExportedValue(name, f"{VALUE} of {name}") for name in NAMES]
    (event,) = found[0].events
    assert [name for _, _, name in sorted(event[1], key=lambda item: item[2])] == list(NAMES)
    assert VALUE.encode() not in bytes(EnvironmentSnapshot.objects.get().value.envelope)


def swap(sql: Sql, table: str, column: str, left: Any, right: Any) -> None:
    """Exchange a column of two rows, which are (id, stored value)."""
    for (pk, _), (_, value) in ((left, right), (right, left)):
        sql(f"UPDATE {table} SET {column} = %s WHERE id = %s", value, pk)


def two_versions() -> list[tuple[int, bytes]]:
    found = SecretVersion.objects.filter(secret__name__in=("a", "e"), secret__environment__name="development")
    return [(row.pk, row.value.envelope) for row in found.order_by("pk")]


def two_macs() -> list[tuple[int, bytes]]:
    found = Secret.objects.filter(name__in=("a", "e"), environment__name="development")
    return [(row.pk, bytes(row.row_mac)) for row in found.order_by("pk")]


def of(name: str, cast: Cast) -> Secret:
    return Secret.objects.select_related("environment").get(name=name, environment=cast.development)


def remove(cast: Cast, name: str) -> None:
    lifecycle.delete(actor=cast.principal(cast.alice), secret=of(name, cast))


def purge(cast: Cast, name: str) -> None:
    remove(cast, name)
    secret = Secret.objects.select_related("environment").get(name=name, environment=cast.development)
    lifecycle.purge(actor=cast.principal(cast.alice), secret=secret)


def rename(cast: Cast, name: str) -> None:
    lifecycle.rename(actor=cast.principal(cast.alice), secret=of(name, cast), name=f"{name}/new")


def point_at_another(sql: Sql, cast: Cast) -> None:
    change(cast, of("a", cast), "another value")
    sql("UPDATE secrets_app_secret SET current_number = 1 WHERE name = 'a'")


def swap_secrets(sql: Sql) -> None:
    """Exchange the versions of two secrets; a secret has one version of a number."""
    (left, _), (right, _) = two_versions()
    secrets = [SecretVersion.objects.get(pk=pk).secret_id for pk in (left, right)]
    move = "UPDATE secrets_app_secretversion SET secret_id = %s, number = %s WHERE id = %s"
    sql(move, secrets[1], 99, left)
    sql(move, secrets[0], 1, right)
    sql(move, secrets[1], 1, left)


# What changes one row, so that the snapshot has the others' values.
ONE_CHANGED = ("changed", "renamed", "created")

# What makes the rows others than those of the snapshot.
EDITS: dict[str, Callable[[Cast, Sql], object]] = {
    "row edited": lambda _, sql: sql("UPDATE secrets_app_secret SET name = 'z' WHERE name = 'a'"),
    "type edited": lambda _, sql: sql("UPDATE secrets_app_secret SET secret_type = 'JSON' WHERE name = 'a'"),
    "envelopes swapped": lambda _, sql: swap(sql, "secrets_app_secretversion", "value", *two_versions()),
    "macs swapped": lambda _, sql: swap(sql, "secrets_app_secret", "row_mac", *two_macs()),
    "envelope cut off": lambda _, sql: sql("UPDATE secrets_app_secretversion SET value = %s", b"KPR"),
    "deleted by SQL": lambda _, sql: sql("UPDATE secrets_app_secret SET live = NULL WHERE name = 'a'"),
    "version deleted by SQL": lambda _, sql: sql("UPDATE secrets_app_secretversion SET number = 7"),
    "version of another uuid": lambda _, sql: sql(
        "UPDATE secrets_app_secretversion SET uuid = %s WHERE id = %s", uuid4().hex, two_versions()[0][0]
    ),
    "pointed at an older version": lambda cast, sql: point_at_another(sql, cast),
    "versions of two secrets swapped": lambda _, sql: swap_secrets(sql),
    "previous number edited": lambda _, sql: sql("UPDATE secrets_app_secret SET previous_number = 1"),
    "moved here by SQL": lambda cast, sql: sql(
        "UPDATE secrets_app_secret SET environment_id = %s WHERE name = 'elsewhere'", cast.development.pk
    ),
    "deleted": lambda cast, _: remove(cast, "b/c"),
    "purged": lambda cast, _: purge(cast, "b/c"),
    "renamed": lambda cast, _: rename(cast, "e"),
    "changed": lambda cast, _: change(cast, of("a", cast), "another value"),
    "created": lambda cast, _: keep(cast, "new", "new value"),
    "sealed again": lambda *_: reencrypt(),
}


def reencrypt() -> None:
    list(rotations(environment="development", reencrypt=True, progress=lambda *_told: None))


def both_ways(cast: Cast, actor: User | None = None) -> Told:
    """Export with snapshots and without, and demand that both give and record the same."""
    found = told(cast, actor)
    with without_snapshots():
        assert told(cast, actor) == found
    return found


@pytest.mark.parametrize("edit", EDITS)
def test_a_snapshot_gives_nothing_of_other_rows(cast: Cast, sql: Sql, edit: str) -> None:
    fill(cast)
    keep(cast, "elsewhere", environment=cast.production)
    with_snapshot(cast)
    before = stored_rows(cast.development, limit=99, limit_bytes=2**20)
    with opening() as envelopes:
        both_ways(cast)
    assert len(envelopes) == 1 + len(NAMES)
    EDITS[edit](cast, sql)
    after = stored_rows(cast.development, limit=99, limit_bytes=2**20)
    assert before
    assert after
    assert before.digest != after.digest
    with opening() as envelopes:
        both_ways(cast)
    if edit in ONE_CHANGED:
        # The snapshot and the one row; and then every row without it.
        assert len(envelopes) == 2 + len(after.rows)


@pytest.mark.parametrize("seed", range(8))
def test_both_ways_are_one_through_any_mix_of_edits(cast: Cast, sql: Sql, seed: int) -> None:
    fill(cast)
    keep(cast, "elsewhere", environment=cast.production)
    chance = random.Random(seed)
    for edit in chance.sample(sorted(EDITS), 4):
        for _ in range(chance.randint(0, 3)):
            both_ways(cast)
            environment_snapshot.store_prepared()
        try:
            EDITS[edit](cast, sql)
        except (Secret.DoesNotExist, IndexError, ValueError, SecretError):
            # What it edits was taken away before.
            continue
        both_ways(cast)
        both_ways(cast, cast.bob)


def test_what_changed_is_opened_beside_it_and_then_held_by_the_next(cast: Cast) -> None:
    fill(cast)
    with_snapshot(cast)
    change(cast, of("a", cast), "another value")
    remove(cast, "e")
    opened = []
    for _ in range(3):
        with opening() as envelopes:
            found = told(cast)
        opened.append(len(envelopes))
        environment_snapshot.store_prepared()
        assert dict(found.answer) == {
            "a": "another value",
            **{name: f"{VALUE} of {name}" for name in ("b/c", "b/d")},
        }
    assert opened == [2, 2, 1]


def test_what_was_guarded_since_is_left_out_and_the_others_are_read(cast: Cast) -> None:
    fill(cast)
    with_snapshot(cast)
    alice = cast.principal(cast.alice)
    guard(actor=alice, secret=of("a", cast))
    found = reveal_environment(actor=alice, environment=cast.development)
    assert dict(found) == {name: f"{VALUE} of {name}" for name in NAMES if name != "a"}
    assert found.left_out == ["a"]


def test_most_rows_that_are_others_are_read_without_it(cast: Cast) -> None:
    fill(cast)
    with_snapshot(cast)
    for name in ("a", "b/c", "b/d"):
        change(cast, of(name, cast), "another value")
    with opening() as envelopes:
        told(cast)
    assert len(envelopes) == len(NAMES)


def test_it_asks_for_no_key_that_no_row_needs(cast: Cast) -> None:
    fill(cast)
    data_keys.replace_key(cast.development)
    change(cast, of("a", cast), "another value")
    newer = with_snapshot(cast).value.data_key_id
    remove(cast, "a")
    rows = stored_rows(cast.development, limit=99, limit_bytes=2**20)
    assert rows is not None
    assert newer not in current_versions.named_data_keys(rows.envelopes())
    with opening() as envelopes:
        both_ways(cast)
    assert len(envelopes) == 2 * len(rows.rows)


@pytest.mark.parametrize("digests", [None, b"", b"0" * 32 * len(NAMES)])
def test_one_whose_digests_do_not_make_its_digest_is_replaced(
    cast: Cast, sql: Sql, digests: bytes | None
) -> None:
    fill(cast)
    first = with_snapshot(cast)
    # The release before keeps none.
    sql("UPDATE secrets_app_environmentsnapshot SET row_digests = %s", digests)
    assert [event[0][1] for event in both_ways(cast).events] == ["secret.export"]
    environment_snapshot.store_prepared()
    assert EnvironmentSnapshot.objects.get().uuid != first.uuid


def test_a_changed_row_that_does_not_open_fails_the_read_on_record(cast: Cast, sql: Sql) -> None:
    fill(cast)
    with_snapshot(cast)
    (left, stored), _ = two_versions()
    broken = stored[:-1] + bytes([stored[-1] ^ 1])
    sql("UPDATE secrets_app_secretversion SET value = %s WHERE id = %s", broken, left)
    found = both_ways(cast)
    assert issubclass(found.answer[0], SecretError)
    assert [event[0][3] for event in found.events] == ["allowed", "failed", "failed"]


def test_what_no_answer_depends_on_leaves_it_valid(cast: Cast, sql: Sql) -> None:
    fill(cast)
    with_snapshot(cast)
    sql("UPDATE secrets_app_secret SET description = 'other'")
    with opening() as envelopes:
        told(cast)
    assert len(envelopes) == 1


# What the intruder makes of the snapshot's row so that it is found for the rows of now.
FORGED: dict[str, Callable[[Cast, Sql, StoredRows], object]] = {
    "of another environment": lambda cast, sql, rows: forge(
        sql, cast, rows, EnvironmentSnapshot.objects.get(environment=cast.production)
    ),
    "of older rows": lambda cast, sql, rows: forge(
        sql, cast, rows, EnvironmentSnapshot.objects.get(environment=cast.development)
    ),
    "cut off": lambda _, sql, rows: replace(sql, rows, b"KPR"),
    "a version's envelope": lambda _, sql, rows: replace(sql, rows, two_versions()[0][1]),
}


def forge(sql: Sql, cast: Cast, rows: StoredRows, taken: EnvironmentSnapshot) -> None:
    EnvironmentSnapshot.objects.exclude(environment=cast.development).delete()
    replace(sql, rows, taken.value.envelope)
    sql("UPDATE secrets_app_environmentsnapshot SET uuid = %s", taken.uuid.hex)


def replace(sql: Sql, rows: StoredRows, envelope: bytes) -> None:
    statement = "UPDATE secrets_app_environmentsnapshot SET digest = %s, row_digests = %s, value = %s"
    sql(statement, rows.digest, b"".join(rows.row_digests), envelope)


@pytest.mark.parametrize("how", FORGED)
def test_a_snapshot_that_is_not_of_these_rows_shows_nothing(cast: Cast, sql: Sql, how: str) -> None:
    fill(cast)
    for name in NAMES:
        keep(cast, name, f"production {name}", environment=cast.production)
    with_snapshot(cast)
    with_snapshot(cast, cast.production)
    change(cast, of("a", cast), "another value")
    rows = stored_rows(cast.development, limit=99, limit_bytes=2**20)
    assert rows is not None
    FORGED[how](cast, sql, rows)
    found_now = environment_snapshot.find(cast.development, rows)
    assert found_now is not None
    assert found_now.others(rows) == []
    with without_snapshots():
        expected = told(cast)
    found = told(cast)
    assert found.answer == expected.answer
    assert [event[0][1:4:2] for event in found.events] == [
        ("secret.export", "allowed"),
        ("integrity.violation", "failed"),
        ("secret.export", "failed"),
        ("secret.export", "allowed"),
    ]
    assert found.events[-1] == expected.events[-1]
    # What is broken is replaced.
    environment_snapshot.store_prepared()
    with opening() as envelopes:
        assert told(cast) == expected
    assert len(envelopes) == 1


@pytest.mark.parametrize("column", ["uuid", "value"])
def test_a_snapshot_that_is_no_envelope_is_none(cast: Cast, sql: Sql, column: str) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("no such value fits a column elsewhere")
    fill(cast)
    with_snapshot(cast)
    for value in ("text", 7):
        sql(f"UPDATE secrets_app_environmentsnapshot SET {column} = %s", value)
        both_ways(cast)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="no such text fits a column elsewhere")
def test_text_that_is_not_utf_8_is_read_and_proves_nothing(cast: Cast, sql: Sql) -> None:
    fill(cast)
    with_snapshot(cast)
    sql("UPDATE secrets_app_secret SET name = CAST(X'62FF' AS TEXT) WHERE name = 'b/c'")
    assert [item.name for item in both_ways(cast).answer] == ["a", "b/d", "e"]
    # The connection reads other tables as before.
    sql("UPDATE environments_app_user SET display_name = CAST(X'62FF' AS TEXT)")
    assert User.objects.values_list("display_name", flat=True).first() == "b\ufffd"


def limit(cast: Cast, user: User, prefix: str) -> None:
    for row in Membership.objects.filter(user=user, environment=cast.development):
        memberships.change_membership(actor=cast.principal(cast.alice), membership=row, prefix=prefix)


def test_who_may_read_a_part_gets_it_from_the_rows(cast: Cast) -> None:
    fill(cast)
    with_snapshot(cast)
    limit(cast, cast.bob, "b")
    with opening() as envelopes:
        found = told(cast, cast.bob)
    assert [item.name for item in found.answer] == ["b/c", "b/d"]
    assert len(envelopes) == 2
    both_ways(cast, cast.bob)
    for other in (cast.vera, cast.charlie):
        with opening() as envelopes:
            assert both_ways(cast, other).answer[0] in {Forbidden, Invisible}
        assert envelopes == []


def test_who_lost_the_right_meanwhile_gets_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cast)
    with_snapshot(cast)
    genuine = Sealed.open

    def slowly(sealed: Any, receipt: Any) -> bytes:
        value = genuine(sealed, receipt)
        limit(cast, cast.bob, "other")
        return value

    monkeypatch.setattr(Sealed, "open", slowly)
    found = told(cast, cast.bob)
    assert found.answer[0] in {Forbidden, Invisible}
    exports = [event[0][3] for event in found.events if event[0][1] == "secret.export"]
    assert exports == ["allowed", "denied"]


def test_nothing_opens_before_its_record_is_committed(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cast)
    with_snapshot(cast)
    counts: list[int] = []
    genuine = envelope.open_bound

    def watched(*args: Any, **options: Any) -> bytes:
        counts.append(AuditEvent.objects.filter(action=Action.SECRET_EXPORT).count())
        return genuine(*args, **options)

    monkeypatch.setattr(envelope, "open_bound", watched)
    before = AuditEvent.objects.filter(action=Action.SECRET_EXPORT).count()
    told(cast)
    assert counts == [before + 1]


def test_a_key_that_is_away_fails_the_read_on_record(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cast)
    with_snapshot(cast)

    def away(*_: Any, **__: Any) -> Any:
        raise KeyUnavailable("KMS is away", permanent=False)

    monkeypatch.setattr("secrets_app.keys.encrypted_field.plain_key", away)
    found = told(cast)
    assert found.answer[0] is KeyUnavailable
    assert [event[0][3] for event in found.events] == ["allowed", "failed"]


# --- Its life ----------------------------------------------------------------------------------


def test_few_secrets_get_none(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cast)
    monkeypatch.setattr(environment_snapshot, "MIN_SECRETS", len(NAMES) + 1)
    for _ in range(3):
        told(cast)
        environment_snapshot.store_prepared()
    assert not EnvironmentSnapshot.objects.exists()


def test_rows_that_change_between_reads_get_none(cast: Cast) -> None:
    fill(cast)
    for number in range(3):
        change(cast, of("a", cast), f"value {number}")
        told(cast)
        environment_snapshot.store_prepared()
    assert not EnvironmentSnapshot.objects.exists()


def test_rows_that_did_not_prove_themselves_get_none(cast: Cast, sql: Sql) -> None:
    fill(cast)
    sql("UPDATE secrets_app_secret SET secret_type = 'JSON' WHERE name = 'a'")
    for _ in range(3):
        assert len(told(cast).answer) == len(NAMES) - 1
        environment_snapshot.store_prepared()
    assert not EnvironmentSnapshot.objects.exists()


def test_too_large_an_environment_gets_none(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cast)
    monkeypatch.setattr(environment_snapshot, "MAX_SNAPSHOT_BYTES", 50)
    for _ in range(3):
        told(cast)
        environment_snapshot.store_prepared()
    assert not EnvironmentSnapshot.objects.exists()


def test_a_snapshot_may_be_larger_than_a_value(cast: Cast) -> None:
    for name in NAMES:
        keep(cast, name, name[0] * 60_000)
    assert len(with_snapshot(cast).value.envelope) > 240_000
    with opening() as envelopes:
        assert [len(item.value) for item in told(cast).answer] == [60_000] * len(NAMES)
    assert len(envelopes) == 1


def test_it_is_stored_apart_from_the_answer(transactional_db: None, bearer: Callable[..., Client]) -> None:
    cast = make_cast()
    fill(cast)
    client = bearer("reader", cast.development)
    with environment_snapshot._STORING:
        # That of an earlier test is stored by now: who comes meanwhile stores nothing.
        answers = [client.get(PATH).content]
    answers.append(client.get(PATH).content)
    with environment_snapshot._STORING:
        assert EnvironmentSnapshot.objects.count() == 1
    with opening() as envelopes:
        assert client.get(PATH).content == answers[0] == answers[1]
    assert len(envelopes) == 1


def test_what_cannot_be_stored_fails_nothing(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(cast)
    expected = told(cast)
    told(cast)

    def fail(*_: object, **__: object) -> None:
        raise DatabaseError(VALUE)

    caplog.set_level("DEBUG")
    monkeypatch.setattr(EnvironmentSnapshot, "save", fail)
    environment_snapshot.store_prepared()
    assert VALUE not in caplog.text
    assert not EnvironmentSnapshot.objects.exists()
    assert told(cast) == expected


def test_one_is_replaced_by_that_of_the_rows_of_now(cast: Cast) -> None:
    fill(cast)
    first = with_snapshot(cast)
    change(cast, of("a", cast), "another value")
    assert with_snapshot(cast).uuid != first.uuid
    assert EnvironmentSnapshot.objects.count() == 1


def test_it_is_not_stored_over_rows_that_changed_meanwhile(cast: Cast) -> None:
    fill(cast)
    told(cast)
    told(cast)
    purge(cast, "a")
    environment_snapshot.store_prepared()
    assert not EnvironmentSnapshot.objects.exists()


def test_the_value_of_a_purged_secret_goes_with_it(cast: Cast, settings: Any) -> None:
    fill(cast)
    with_snapshot(cast)
    for name in NAMES:
        keep(cast, name, environment=cast.production)
    with_snapshot(cast, cast.production)
    remove(cast, "a")
    # It can be restored, so it is stored in any case.
    assert EnvironmentSnapshot.objects.count() == 2
    secret = Secret.objects.select_related("environment").get(name="a", environment=cast.development)
    Secret.objects.filter(pk=secret.pk).update(deleted_at=timezone.now() - timedelta(days=400))
    settings.KEEPER_DELETED_RETENTION_DAYS = 30
    assert purge_expired() == 1
    assert [row.environment_id for row in EnvironmentSnapshot.objects.all()] == [cast.production.pk]


def test_it_stays_where_a_purge_is_undone(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cast)
    with_snapshot(cast)

    def fail(*_: object) -> None:
        raise RuntimeError("the disk is full")

    secret = of("a", cast)
    remove(cast, "a")
    monkeypatch.setattr(lifecycle, "record_many", fail)
    secret.refresh_from_db()
    with pytest.raises(RuntimeError):
        lifecycle.purge(actor=cast.principal(cast.alice), secret=secret)
    assert EnvironmentSnapshot.objects.count() == 1


def test_nothing_stays_under_a_data_key_that_was_replaced(cast: Cast) -> None:
    fill(cast)
    with_snapshot(cast)
    reencrypt()
    assert not EnvironmentSnapshot.objects.exists()
    active = data_keys.active_key(cast.development).id
    assert with_snapshot(cast).value.data_key_id == active


def test_a_data_key_that_seals_none_of_the_rows_seals_no_snapshot(cast: Cast) -> None:
    fill(cast)
    data_keys.replace_key(cast.development)
    for _ in range(3):
        told(cast)
        environment_snapshot.store_prepared()
    assert not EnvironmentSnapshot.objects.exists()
    change(cast, of("a", cast), "another value")
    assert with_snapshot(cast).value.data_key_id == data_keys.active_key(cast.development).id


def test_two_that_store_at_once_leave_one(transactional_db: None) -> None:
    cast = make_cast()
    fill(cast)

    def read() -> int:
        for _ in range(4):
            found = reveal_environment(actor=cast.principal(cast.alice), environment=cast.development)
            environment_snapshot.store_prepared()
        return len(found)

    assert at_once(read, read, read) == [len(NAMES)] * 3
    assert EnvironmentSnapshot.objects.count() == 1


# --- The digest ----------------------------------------------------------------------------------

COLUMNS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.text(), st.binary(), st.floats())


@example([])
@example([("", b"", None), ("a", b"a", 0)])
# One text twice, as one object or as two, numbers about 32 bits, and zeros of two signs.
@example([("same", "same", 2**31 - 1), ("same", 2**31, -(2**63))])
@example([(0.0, -0.0, 1), (1.0, float("inf"), 2**63 - 1)])
@given(st.lists(st.tuples(COLUMNS, COLUMNS, COLUMNS)))
def test_the_form_that_is_digested_is_that_of_no_other_rows(rows: list[Any]) -> None:
    form = marshal.dumps(rows, current_versions._MARSHAL_FORM)
    again = marshal.loads(form)
    assert repr(again) == repr(rows)
    assert marshal.dumps(again, current_versions._MARSHAL_FORM) == form
    interned = [tuple(sys.intern(x) if isinstance(x, str) else x for x in row) for row in deepcopy(rows)]
    assert marshal.dumps(interned, current_versions._MARSHAL_FORM) == form


def test_too_many_rows_are_not_held(cast: Cast) -> None:
    fill(cast)
    count = len(NAMES)
    assert stored_rows(cast.development, limit=count, limit_bytes=2**20) is not None
    assert stored_rows(cast.development, limit=count - 1, limit_bytes=2**20) is None
    assert stored_rows(cast.development, limit=count, limit_bytes=1_000) is None
