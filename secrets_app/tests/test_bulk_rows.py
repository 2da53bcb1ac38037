"""The short ways of a bulk call do what the long ones do: rows as the ORM stores them, items as validated."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, models
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from environments_app.tests.cast import Cast
from secrets_app.api import bulk_items
from secrets_app.api.serializers import MAX_ID, NewSecretItem
from secrets_app.data_keys import active_key
from secrets_app.errors import WrongContext
from secrets_app.fields import Sealed
from secrets_app.insertion import insert_rows
from secrets_app.metadata import Metadata
from secrets_app.models import Secret, SecretVersion
from secrets_app.secret_types import SecretType
from secrets_app.tests.kept import keep, version
from secrets_app.versions import NewValue, sealed_version
from secrets_app.writing import new_secret

pytestmark = pytest.mark.django_db


def stored(model: type[models.Model]) -> dict[str, list[Any]]:
    """Return what the columns of a table hold, as the database gives it, but for the ids."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {model._meta.db_table} ORDER BY id")
        names = [column[0] for column in cursor.description]
        found = zip(*cursor.fetchall(), strict=True)
        return {name: list(values) for name, values in zip(names, found, strict=True) if name != "id"}


def drafts(cast: Cast) -> list[Secret]:
    """Return new secrets: a plain one, one with all its metadata, and one that is gone already."""
    metadata: list[Metadata] = [
        {},
        {
            "description": "tëxt 'quoted' %s",
            "tags": ["a", "b"],
            "owner": "alice",
            "expires_at": datetime(2031, 2, 3, 4, 5, 6, 789, tzinfo=UTC),
        },
        {"expires_at": datetime(2031, 2, 3, tzinfo=UTC)},
    ]
    rows = [
        new_secret(
            environment=cast.development,
            name=f"app/{number}",
            secret_type=SecretType.JSON,
            value='{"a": [1]}',
            metadata=given,
        )
        for number, given in enumerate(metadata)
    ]
    rows[2].live, rows[2].previous_number = None, 7
    return rows


@pytest.mark.every_database
def test_secrets_are_stored_as_the_orm_stores_them(cast: Cast) -> None:
    rows = drafts(cast)
    Secret.objects.bulk_create(rows)
    expected = stored(Secret)
    Secret.objects.all().delete()
    for row in rows:
        row.pk, row.row_mac = None, b""
    insert_rows(rows)
    assert stored(Secret) == expected
    assert all(row.is_authentic() for row in Secret.objects.select_related("environment"))


@pytest.mark.every_database
def test_versions_are_stored_as_the_orm_stores_them_and_open(cast: Cast) -> None:
    secret, key = keep(cast), active_key(cast.development)
    rows = [
        sealed_version(
            actor=cast.principal(cast.alice),
            secret=secret,
            number=number,
            value=NewValue(text=f"value {number}", comment="çomment"),
            data_key=key,
        )
        for number in (2, 3)
    ]
    SecretVersion.objects.bulk_create(rows)
    expected = stored(SecretVersion)
    SecretVersion.objects.filter(number__gt=1).delete()
    insert_rows(rows)
    assert stored(SecretVersion) == expected
    assert version(secret, 3).value.opens()


def test_what_was_sealed_for_another_row_is_not_inserted(cast: Cast) -> None:
    secret, key = keep(cast), active_key(cast.development)
    row, other = (
        sealed_version(
            actor=cast.principal(cast.alice),
            secret=secret,
            number=number,
            value=NewValue(text="x"),
            data_key=key,
        )
        for number in (2, 3)
    )
    row.value = Sealed(other.value.envelope, other.sealing_context())
    with pytest.raises(WrongContext):
        insert_rows([row])


@pytest.mark.every_database
def test_more_than_a_statement_takes_are_inserted_and_a_name_only_once(cast: Cast) -> None:
    rows = [
        Secret(environment=cast.development, name=f"n{number:03}", secret_type="TEXT")
        for number in range(201)
    ]
    insert_rows(rows)
    assert Secret.objects.count() == 201
    with pytest.raises(IntegrityError):
        insert_rows([Secret(environment=cast.development, name="n000", secret_type="TEXT")])


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 3), st.just(MAX_ID + 1), st.floats(), st.text(max_size=3),
    st.lists(st.text(max_size=2), max_size=2), st.sampled_from(["TEXT", "api-key", " json ", "certificate"]),
)  # fmt: skip
NAMES = ["name", "value", "secret_type", "environment_id", "comment", "tags", "resolves_references", "x"]
LIKELY = st.fixed_dictionaries(
    {"name": st.text(), "value": st.text(), "secret_type": st.sampled_from(["TEXT", "text", "SSH_KEY"])},
    optional={"environment_id": st.integers(-1, 9), "comment": st.text(max_size=3)},
)


@given(st.lists(st.one_of(LIKELY, st.dictionaries(st.sampled_from(NAMES), VALUES)), min_size=1, max_size=3))
def test_items_are_valid_or_refused_as_the_serializer_says(items: list[dict[str, Any]]) -> None:
    serializer = NewSecretItem(data=items, many=True)
    if serializer.is_valid():
        assert bulk_items.valid_items(items) == serializer.validated_data
    else:
        with pytest.raises(ValidationError) as refused:
            bulk_items.valid_items(items)
        assert refused.value.detail == serializer.errors


def test_usual_items_need_no_serializer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_items, "NewSecretItem", lambda **_: pytest.fail("asked the serializer"))
    item = {"name": "a", "value": "b", "secret_type": "api-key"}
    found = bulk_items.valid_items([item, {**item, "environment_id": 3}])
    assert [given["secret_type"] for given in found] == [SecretType.API_KEY] * 2
