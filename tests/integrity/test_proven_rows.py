"""What the prover of plain rows proves, the model proves, and the reverse, for every authenticated model.

Each column of a row is overwritten by SQL; both then read and judge the row.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, connection, models, transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from audit_app.integrity.proven_table import ProvenTable
from audit_app.integrity.row_authentication import AuthenticatedRow
from environments_app.tests.cast import Cast
from secrets_app.keys.encrypted_field import EncryptedField
from tests.integrity.rows import authenticated, make_row, uncovered

pytestmark = pytest.mark.django_db
MODELS: Final = pytest.mark.parametrize("model", authenticated(), ids=lambda model: model.__name__)


class Judged:
    """A stored row, as the prover and as its model read it now."""

    def __init__(self, model: type[AuthenticatedRow], pk: int) -> None:
        names = [str(field.attname) for field in model._meta.concrete_fields]
        table = ProvenTable(model, names)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {table.select('r')} FROM {table.table} r WHERE id = %s", [pk])
            self.stored = cursor.fetchone()
        self.instance: Any = model._base_manager.get(pk=pk)
        self.is_authentic = self.instance.is_authentic()
        self.is_readable = table.read(self.stored) is not None
        self.proven = table.prove(self.stored, dict(beyond(self.instance)))

    def differences(self) -> list[str]:
        """Return the columns of which the prover gives another value than the model."""
        proven = self.proven or {}
        return [
            field.attname
            for field in self.instance._meta.concrete_fields
            if not isinstance(field, EncryptedField)
            and plain(field.to_python(proven[field.attname])) != plain(getattr(self.instance, field.attname))
        ]


def beyond(row: AuthenticatedRow) -> Iterator[tuple[str, str | None]]:
    """Yield the covered paths through foreign keys, as they are stored now."""
    for path in (*row.MAC_COVERS, *row.MAC_COVERS_IF_SET):
        if "." in path:
            try:
                value = attrgetter(path)(row)
            except (AttributeError, ObjectDoesNotExist):
                value = None
            yield path, None if value is None else str(value)


def plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def overwrite(row: AuthenticatedRow, field: Any, value: Any) -> None:
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {quote(row._meta.db_table)} SET {quote(field.column)} = %s WHERE id = %s",
            [value, row.pk],
        )


ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.text(max_size=8).filter(lambda text: "\x00" not in text and text.isprintable()),
    st.binary(max_size=48),
    st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001 - as the databases store it
    st.sampled_from(['{"a": 1}', "[]", "[1.5]", "{", str(UUID(int=7)), UUID(int=7).hex, UUID(int=7).hex.upper()]),
)  # fmt: skip


def judge_overwritten(
    model: type[AuthenticatedRow], row: AuthenticatedRow, field: Any, value: object
) -> None:
    before = Judged(model, row.pk)
    try:
        with transaction.atomic():
            overwrite(row, field, value)
            now = Judged(model, row.pk)
            transaction.set_rollback(True)
    except (DatabaseError, ValueError, TypeError):
        # The database refuses the value, or its model cannot read it: then nothing is judged.
        return
    assert now.proven is None or (now.is_authentic and not now.differences()), field
    assert now.proven is not None or not now.is_authentic or not now.is_readable, field
    is_covered = field.attname not in uncovered(model)
    if is_covered and now.stored != before.stored and not isinstance(field, models.ForeignKey):
        assert now.proven is None, f"{field} was overwritten, and the row still proves itself"


@pytest.mark.every_database
@MODELS
def test_a_row_as_keeper_wrote_it_is_proved_by_both(cast: Cast, model: type[AuthenticatedRow]) -> None:
    judged = Judged(model, make_row(model).pk)
    assert judged.is_authentic
    assert judged.proven is not None
    assert judged.differences() == []


@pytest.mark.every_database_weekly
@MODELS
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([None])
@example(["1", b"1", 1, 0, datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None), UUID(int=7).hex, "[]"])
@given(st.lists(ANY, min_size=1, max_size=2))
def test_an_overwritten_column_is_judged_alike(
    cast: Cast, model: type[AuthenticatedRow], values: list[object]
) -> None:
    with transaction.atomic():
        row = make_row(model)
        for field in model._meta.concrete_fields:
            if field.primary_key or isinstance(field, models.ForeignKey):
                continue
            for value in values:
                judge_overwritten(model, row, field, value)
        transaction.set_rollback(True)


@pytest.mark.every_database
@MODELS
def test_a_row_under_another_parent_proves_nothing(cast: Cast, model: type[AuthenticatedRow]) -> None:
    row = make_row(model)
    fields: Any = model._meta.concrete_fields
    for field in fields:
        covered = any(path.startswith(f"{field.name}.") for path in model.MAC_COVERS)
        if covered and getattr(row, field.attname) is not None:
            overwrite(row, field, make_row(field.related_model).pk)
            judged = Judged(model, row.pk)
            assert judged.proven is None, field
            assert not judged.is_authentic, field
            overwrite(row, field, getattr(row, field.attname))
    assert Judged(model, row.pk).proven is not None


@pytest.mark.every_database
def test_a_row_of_another_label_or_deployment_proves_nothing(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = type(cast.development)
    assert Judged(model, cast.development.pk).proven is not None
    monkeypatch.setattr(model, "MAC_LABEL", "another")
    assert Judged(model, cast.development.pk).proven is None
