"""Plain rows of an export: the same as their models give, and judged as these judge them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from audit_app.events.actions import Action
from audit_app.interfaces import Purpose
from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from secrets_app.errors import MissingVersion
from secrets_app.keys import data_keys
from secrets_app.keys.system_keyring import SystemKeyring
from secrets_app.models import Secret
from secrets_app.rows import current_versions
from secrets_app.rows.current_versions import CurrentRow, named_data_keys
from secrets_app.services.read import reveal_environment
from secrets_app.tests.kept import VALUE, change, keep

pytestmark = pytest.mark.django_db
Sql = Callable[..., None]


def plain(cast: Cast, prefix: str = "") -> list[CurrentRow]:
    return list(current_versions.current_version_rows(cast.development, prefix))


def by_models(cast: Cast) -> list[CurrentRow]:
    pks = Secret.objects.filter(environment=cast.development, live=True).order_by("name")
    found = [current_versions._by_models(pk, cast.development) for pk in pks.values_list("pk", flat=True)]
    return [row for row in found if row]


@pytest.mark.every_database
def test_genuine_rows_are_those_of_the_models_and_are_not_read_twice(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b/d", "a", "B", "b/c"):
        keep(cast, name)
    change(cast, keep(cast, "again"), "another value")
    resolving = Secret.objects.get(name="b/c")
    resolving.resolves_as = "user:0"
    resolving.save()
    keep(cast, "elsewhere", environment=cast.production)
    expected = by_models(cast)
    monkeypatch.setattr(current_versions, "_by_models", lambda *_: pytest.fail("read by its models"))
    assert plain(cast) == expected
    assert [row.name for row in expected] == ["B", "a", "again", "b/c", "b/d"]
    assert all(row.is_authentic for row in expected)
    assert [row.number for row in expected] == [1, 1, 2, 1, 1]
    assert [row.name for row in plain(cast, "b")] == ["b/c", "b/d"]


EDITS: dict[str, Any] = {
    "name": "other",
    "row_mac": b"0" * 48,
    "secret_type": "JSON",
    "previous_number": 7,
    "pending_number": 1,
    "resolves_as": "user:0",
    "uuid": "00000000000040008000000000000001",
    "live": 2,
}


@pytest.mark.every_database
def test_each_row_is_proved_each_time_and_nothing_of_it_is_kept(
    cast: Cast, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        keep(cast, name)
    asked: list[Purpose] = []
    verify = SystemKeyring.verify_held

    def watched(self: SystemKeyring, purpose: Purpose, *told: bytes) -> bool:
        asked.append(purpose)
        return verify(self, purpose, *told)

    monkeypatch.setattr(SystemKeyring, "verify_held", watched)
    genuine = plain(cast)
    assert plain(cast) == genuine
    assert asked == [Purpose.ROW_MAC] * 4
    sql("UPDATE secrets_app_secret SET current_number = 2 WHERE name = %s", "b")
    assert [row.is_authentic for row in plain(cast)] == [True, False]
    sql("UPDATE secrets_app_secret SET current_number = 1 WHERE name = %s", "b")
    assert plain(cast) == genuine


# SQLite keeps what no field would store.
SQLITE_EDITS: dict[str, Any] = {
    "name": b"payments/key",
    "row_mac": "text",
    "secret_type": b"TEXT",
    "previous_number": "seven",
    "resolves_as": b"",
    "uuid": "no uuid",
}


@pytest.mark.every_database
@pytest.mark.parametrize("column", EDITS)
def test_an_edited_row_is_judged_as_its_model_judges_it(cast: Cast, sql: Sql, column: str) -> None:
    keep(cast, "payments/key")
    assert plain(cast)[0].is_authentic
    sql(f"UPDATE secrets_app_secret SET {column} = %s", EDITS[column])
    assert plain(cast) == by_models(cast)
    assert not any(row.is_authentic for row in plain(cast))


@pytest.mark.every_database
@pytest.mark.parametrize("column", [column for column in EDITS if column != "live"])
def test_an_edited_row_spoils_no_other(
    cast: Cast, sql: Sql, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    for name in ("a", "b", "c"):
        keep(cast, name)
    sql(f"UPDATE secrets_app_secret SET {column} = %s WHERE name = %s", EDITS[column], "b")
    assert plain(cast) == by_models(cast)
    assert sorted(row.is_authentic for row in plain(cast)) == [False, True, True]
    asked: list[Any] = []
    monkeypatch.setattr(current_versions, "_by_models", lambda *told: asked.append(told))
    assert [row.name for row in plain(cast)] == ["a", "c"]
    assert len(asked) == 1


@pytest.mark.every_database
def test_a_secret_without_its_current_version_is_told(cast: Cast, sql: Sql) -> None:
    kept, lost = keep(cast, "kept"), keep(cast, "lost")
    sql("UPDATE secrets_app_secretversion SET number = 9 WHERE secret_id = %s", lost.pk)
    assert plain(cast) == by_models(cast)
    assert [(row.name, row.version == current_versions.MISSING) for row in plain(cast)] == [
        ("kept", False),
        ("lost", True),
    ]
    assert all(row.is_authentic for row in plain(cast))
    actor = cast.principal(cast.alice)
    with pytest.raises(MissingVersion):
        reveal_environment(actor=actor, environment=cast.development)
    assert not AuditEvent.objects.filter(action=Action.SECRET_EXPORT).exists()
    shown = reveal_environment(actor=actor, environment=cast.development, names=[kept.name])
    assert [item.name for item in shown] == ["kept"]
    assert VALUE not in repr(shown)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="no such value fits a column elsewhere")
@pytest.mark.parametrize("column", SQLITE_EDITS)
def test_a_column_that_holds_what_no_field_stores_is_judged_so_too(cast: Cast, sql: Sql, column: str) -> None:
    keep(cast, "payments/key")
    assert plain(cast)[0].is_authentic
    sql(f"UPDATE secrets_app_secret SET {column} = %s", SQLITE_EDITS[column])
    assert plain(cast) == by_models(cast)
    assert not any(row.is_authentic for row in plain(cast))


@pytest.mark.every_database
@pytest.mark.parametrize("column", ["uuid", "value"])
def test_a_version_that_was_spoilt_is_read_as_its_model_reads_it(cast: Cast, sql: Sql, column: str) -> None:
    keep(cast)
    value = b"plain" if column == "value" else "FFFFFFFFFFFF4FFF8FFFFFFFFFFFFFFF"
    sql(f"UPDATE secrets_app_secretversion SET {column} = %s", value)
    assert plain(cast) == by_models(cast)
    if connection.vendor == "sqlite":
        sql(f"UPDATE secrets_app_secretversion SET {column} = %s", "text")
        assert plain(cast) == by_models(cast)


@pytest.mark.every_database
def test_a_row_whose_environment_was_changed_proves_nothing(cast: Cast, sql: Sql) -> None:
    keep(cast, environment=cast.production)
    sql("UPDATE secrets_app_secret SET environment_id = %s", cast.development.pk)
    (row,) = plain(cast)
    assert not row.is_authentic


@pytest.mark.every_database
def test_the_data_keys_of_an_environment_are_named_by_its_envelopes(cast: Cast) -> None:
    keep(cast, "a")
    old = data_keys.active_key(cast.development).id
    new = data_keys.replace_key(cast.development).id
    keep(cast, "b")
    envelopes = [row.envelope for row in plain(cast)]
    assert named_data_keys([*envelopes, b"", b"KPR"]) == {old, new}
