"""The short ways of a bulk call do what the long ones do: rows as the ORM stores them, items as validated."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from django.db import connection, models
from django.utils import timezone
from hypothesis import example, given
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.integrity.row_state import digest_of_mac
from audit_app.models import AuditEvent
from audit_app.verification.stream_verifier import verify
from core.canonical_json import parsed_details
from core.db.identity import ordered_uuids
from environments_app.tests.cast import Cast
from secrets_app.api import bulk
from secrets_app.api.serializers import MAX_ID, NewSecretItem, SecretDocument
from secrets_app.keys.data_keys import active_key
from secrets_app.models import Secret, SecretVersion
from secrets_app.rows.bulk_insert import CreatedSecret, Described, NewRows
from secrets_app.services import bulk_create, write
from secrets_app.tests.types.test_secret_types_ssh_key import PUBLIC
from secrets_app.types.registry import SecretType
from secrets_app.values.metadata import Metadata
from secrets_app.values.versions import matches_digest, matches_listed

pytestmark = pytest.mark.django_db


def stored(model: type[models.Model]) -> dict[str, list[Any]]:
    """Return what the columns of a table hold, as the database gives it, but for the ids."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {model._meta.db_table} ORDER BY id")
        names = [column[0] for column in cursor.description]
        found = zip(*cursor.fetchall(), strict=True)
        return {name: list(values) for name, values in zip(names, found, strict=True) if name != "id"}


# What no two secrets share, whoever makes them; what it proves is looked at by itself.
OWN = {
    "tags_mac",
    "environment_id",
    "secret_id",
    "uuid",
    "row_mac",
    "value",
    "data_key_id",
    "created_at",
    "updated_at",
}
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ITEMS: list[tuple[SecretType, str, str, Metadata]] = [
    (SecretType.TEXT, "tëxt", "", {}),
    (
        SecretType.JSON,
        '{"a": [1]}',
        "çomment",
        {
            "description": "tëxt 'quoted' %s",
            "tags": ["b", "A"],
            "owner": " Alice ",
            "expires_at": datetime(2031, 2, 3, 4, 5, 6, 789, tzinfo=UTC),
        },
    ),
    (SecretType.SSH_KEY, PUBLIC, "", {"expires_at": datetime(2031, 2, 3, tzinfo=UTC)}),
]


@pytest.fixture
def made(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> list[CreatedSecret]:
    """Make the same secrets one by one in production and at once in development, in one moment."""
    monkeypatch.setattr(timezone, "now", lambda: NOW)
    actor = cast.principal(cast.alice)
    items = []
    for number, (kind, value, comment, metadata) in enumerate(ITEMS):
        write.create(
            actor=actor,
            environment=cast.production,
            name=f"App/{number}",
            secret_type=kind,
            value=value,
            comment=comment,
            **metadata,
        )
        items.append(
            bulk_create.NewSecret(
                environment=cast.development,
                name=f"App/{number}",
                secret_type=kind,
                value=value,
                comment=comment,
                metadata=metadata,
            )
        )
    return bulk_create.create_many(actor=actor, items=items)


@pytest.mark.every_database
@pytest.mark.parametrize("model", [Secret, SecretVersion])
def test_rows_are_stored_as_those_of_single_secrets(
    made: list[CreatedSecret], model: type[models.Model]
) -> None:
    columns = stored(model)
    assert len(columns["uuid"]) == 2 * len(ITEMS)
    for name, values in columns.items():
        if name not in OWN:
            assert values[: len(ITEMS)] == values[len(ITEMS) :], name


@pytest.mark.every_database
def test_rows_prove_themselves_and_open(made: list[CreatedSecret]) -> None:
    versions = SecretVersion.objects.select_related("secret__environment").order_by("id")
    for version in versions:
        assert version.secret.is_authentic()
        assert version.value.can_decrypt()
    values = [version.value.matches_fingerprint(bytes(version.fingerprint)) for version in versions]
    assert values == [True] * 2 * len(ITEMS)
    assert not [*verify(), *run_checks()]


@pytest.mark.every_database
def test_rows_hold_the_moment_in_which_they_were_made(made: list[CreatedSecret]) -> None:
    for created in made:
        secret = Secret.objects.get(pk=created.pk)
        moments = {secret.created_at, secret.updated_at, secret.rotated_at, secret.versions.get().created_at}
        assert moments == {NOW}


@pytest.mark.every_database
def test_the_manifest_says_what_events_of_single_secrets_say(made: list[CreatedSecret]) -> None:
    *single, many = AuditEvent.objects.filter(action=Action.SECRET_CREATE).order_by("id")
    assert many.manifest
    items = list(many.manifest.items.order_by("id"))
    assert [event.object_name for event in single] == [item.name for item in items]
    for event, item in zip(single, items, strict=True):
        own = SecretVersion.objects.get(secret__uuid=event.object_uuid)
        listed = SecretVersion.objects.get(secret__uuid=item.secret_uuid)
        details = parsed_details(event.details)
        assert details["rows"] == {str(event.object_uuid): digest_of_mac(own.secret.row_mac)}
        assert item.row_digest == digest_of_mac(listed.secret.row_mac)
        assert (details["number"], item.number) == (1, 1)
        assert matches_digest(own, details["digest"])
        assert matches_listed(listed, str(item.version_digest))
        assert not matches_listed(own, str(item.version_digest))


@pytest.mark.every_database
def test_the_answer_shows_what_is_stored(made: list[CreatedSecret]) -> None:
    document = SecretDocument()
    for created in made:
        secret = Secret.objects.select_related("environment").get(pk=created.pk)
        shown = [orjson.dumps(document.to_representation(each)) for each in (created, secret)]
        assert shown[0] == shown[1]


def test_every_column_is_given(cast: Cast) -> None:
    data_key = active_key(cast.development)
    actor = cast.principal(cast.alice)
    maker = NewRows(actor=actor, environment=cast.development, data_key=data_key, at=NOW)
    secret, version = ordered_uuids(2)
    described = Described("new", SecretType.TEXT, {})
    row = maker.made(described, value="value", comment="", secret=secret, version=version)
    for model, columns in ((Secret, row.secret), (SecretVersion, {"secret_id": 1, **row.versions[0]})):
        fields = [str(each.column) for each in model._meta.concrete_fields if each.name != "id"]
        assert sorted(columns) == sorted(fields)


@pytest.mark.every_database
def test_more_than_a_statement_takes_are_inserted_in_their_order(cast: Cast) -> None:
    items = [
        bulk_create.NewSecret(
            environment=cast.development, name=f"n{number:03}", secret_type=SecretType.TEXT, value=f"{number}"
        )
        for number in reversed(range(201))
    ]
    created = bulk_create.create_many(actor=cast.principal(cast.alice), items=items)
    assert [Secret.objects.get(pk=each.pk).name for each in created] == [item.name for item in items]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 3), st.just(MAX_ID + 1), st.floats(), st.text(max_size=3),
    st.lists(st.text(max_size=2), max_size=2), st.sampled_from(["TEXT", "api-key", " json ", "certificate"]),
)  # fmt: skip
NAMES = ["name", "value", "secret_type", "environment_id", "comment", "tags", "uses_references", "x"]
LIKELY = st.fixed_dictionaries(
    {"name": st.text(), "value": st.text(), "secret_type": st.sampled_from(["TEXT", "text", "SSH_KEY"])},
    optional={"environment_id": st.integers(-1, 9), "comment": st.text(max_size=3)},
)


@example([{}])
@example(
    [{"name": "a", "value": "", "secret_type": "TEXT"}, {"name": "", "value": "v", "secret_type": "TEXT"}]
)
@example([{"name": "a", "value": "\x00", "secret_type": "TEXT", "environment_id": MAX_ID + 1}])
@example(
    [
        {"name": "a", "value": "\ud800", "secret_type": "TEXT"},
        {"name": "a", "value": "v", "secret_type": "TEXT"},
    ]
)
@given(st.lists(st.one_of(LIKELY, st.dictionaries(st.sampled_from(NAMES), VALUES)), min_size=1, max_size=3))
def test_items_are_valid_or_refused_as_the_serializer_says(items: list[dict[str, Any]]) -> None:
    serializer = NewSecretItem(data=items, many=True)
    if serializer.is_valid():
        assert bulk.valid_items(items) == serializer.validated_data
    else:
        with pytest.raises(ValidationError) as refused:
            bulk.valid_items(items)
        assert refused.value.detail == serializer.errors


def test_usual_items_need_no_serializer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "NewSecretItem", lambda **_: pytest.fail("asked the serializer"))
    item = {"name": "a", "value": "b", "secret_type": "api-key"}
    found = bulk.valid_items([item, {**item, "environment_id": 3}])
    assert [given["secret_type"] for given in found] == [SecretType.API_KEY] * 2
