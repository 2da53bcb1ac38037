"""The stored cast is the one that `make_cast` makes, and a test leaves the database as it was."""

from typing import Any

import pytest
from django.db import connection

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.interfaces import Purpose, keyring
from audit_app.models import AuditEvent
from audit_app.verification.stream_verifier import verify
from environments_app.models import Environment, Membership, User
from environments_app.tests.cast import Cast, make_cast
from secrets_app.models import DataKey
from secrets_app.services.read import reveal
from secrets_app.services.write import create
from secrets_app.types.registry import SecretType
from tests.template import Template, settings_now, stored_tables

pytestmark = pytest.mark.every_database
in_both_ways = pytest.mark.parametrize(
    "committed",
    [
        pytest.param(False, id="inside a transaction"),
        pytest.param(True, id="committed", marks=pytest.mark.django_db(transaction=True)),
    ],
)


def counted() -> dict[str, int]:
    return {table.table: len(table.rows) for table in stored_tables()}


def test_nothing_is_stored_before_a_test(db: None) -> None:
    assert not AuditEvent.objects.exists()
    assert not DataKey.objects.exists()
    assert not User.objects.exists()


@in_both_ways
def test_as_many_rows_as_the_cast_takes(_templates: dict[bool, Template], db: None, committed: bool) -> None:
    assert connection.in_atomic_block is not committed
    before = counted()
    make_cast()
    template = {table.table: len(table.rows) for table in _templates[committed].tables}
    assert template == {table: count for table, count in counted().items() if table not in before}


@in_both_ways
class TestTheStoredCast:
    def test_every_row_and_every_event_is_genuine(self, cast: Cast, committed: bool) -> None:
        assert connection.in_atomic_block is not committed
        assert [*run_checks()] == []
        assert [*verify()] == []
        assert AuditEvent.objects.filter(action=Action.DATA_KEY_CREATE).count() == (
            len(Purpose) if committed else 0
        )
        assert AuditEvent.objects.count() > 10

    def test_the_people_are_those_of_the_database(self, cast: Cast, committed: bool) -> None:
        for name in ("alice", "erin", "bob", "vera", "charlie", "root"):
            assert User.objects.get(username=name) == getattr(cast, name)
        assert {*Environment.objects.all()} == {cast.development, cast.production}
        assert all(row.is_authentic() for row in [*Membership.objects.all(), *User.objects.all()])

    def test_a_value_is_sealed_and_opened(self, cast: Cast, committed: bool) -> None:
        actor = cast.principal(cast.alice)
        secret = create(
            actor=actor,
            environment=cast.development,
            name="template-value",
            value="plain",
            secret_type=SecretType.TEXT,
        )
        assert reveal(actor=actor, secret=secret).value == "plain"
        assert [*verify()] == []


def test_what_one_test_does_to_the_cast_another_does_not_see(
    cast: Cast, _templates: dict[bool, Template]
) -> None:
    kept = _templates[False].cast
    cast.alice.username = "somebody"
    assert kept.alice.username == "alice"
    assert kept.alice.pk == cast.alice.pk


def test_it_is_made_anew_under_other_keys(
    settings: Any, tmp_path: Any, _templates: dict[bool, Template], db: None
) -> None:
    assert _templates[False].fits()
    settings.KEEPER_LOCAL_KEY_FILE = str(tmp_path / "other.key")
    assert _templates[False].made_under != settings_now()
    assert not _templates[False].fits()


def test_it_is_made_anew_where_keys_are_stored_already(_templates: dict[bool, Template], db: None) -> None:
    keyring().open_all()
    assert not _templates[False].fits()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("run", ["first", "second"])
def test_a_committed_test_leaves_what_the_migrations_left(run: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM auth_permission")
        assert cursor.fetchone()[0] > 100
        cursor.execute("SELECT COUNT(*), MIN(id) FROM django_content_type")
        kinds, first = cursor.fetchone()
    assert (kinds > 30, first) == (True, 1)
    assert not DataKey.objects.exists()
    make_cast()
