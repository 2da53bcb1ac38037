"""What somebody can do who writes to the database and holds no key: nothing that is not found."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from django.test import Client
from pytest_django import DjangoDbBlocker

from audit_app.events.actions import Action, Outcome
from audit_app.integrity.check_registry import run_checks
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent
from audit_app.verification.stream_verifier import verify
from environments_app.models import GroupMember, Membership, ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from secrets_app.envelope import TARGET_CREDENTIALS, Context, seal
from secrets_app.keys.data_keys import active_key, forget_data_keys
from secrets_app.models import DataKey, Secret, SecretVersion, version_context
from secrets_app.tests.kept import VALUE, change, keep, version

pytestmark = pytest.mark.every_database_weekly

Sql = Callable[..., None]
SignedIn = Callable[[Any], Client]


@dataclass
class Place:
    """A deployment in use: what an intruder with the database in hand finds."""

    cast: Cast
    secret: Secret
    other: Secret
    elsewhere: Secret
    signed_in: SignedIn
    sql: Sql
    alice: Client = field(init=False)

    def __post_init__(self) -> None:
        self.alice = self.signed_in(self.cast.alice)

    def read(self, who: Any = None) -> Any:
        client = self.signed_in(who) if who else self.alice
        return client.get(f"/api/secrets/{self.secret.pk}")


@pytest.fixture(scope="module")
def kept(module_cast: Cast, django_db_blocker: DjangoDbBlocker) -> tuple[Secret, Secret, Secret]:
    with django_db_blocker.unblock():
        return (
            change(module_cast, keep(module_cast, value="first value"), VALUE),
            keep(module_cast, "payments/other", "another value"),
            keep(module_cast, "payments/key", "value of production", environment=module_cast.production),
        )


@pytest.fixture
def place(
    module_cast: Cast, kept: tuple[Secret, Secret, Secret], db: None, signed_in: SignedIn, sql: Sql
) -> Iterator[Place]:
    keyring().open_all()
    cast, (secret, other, elsewhere) = deepcopy((module_cast, kept))
    yield Place(cast, secret, other, elsewhere, signed_in, sql)
    connection.check_constraints()


def lists_answer(place: Place) -> None:
    """No fault breaks a list, of the API, of the pages or of the admin."""
    alice, root = place.alice, place.signed_in(place.cast.root)
    here = f"/environments/{place.cast.development.name}"
    answer(alice, {200}, "/", *(f"/api/{path}" for path in ("whoami", "environments", "events")))
    answer(alice, {200}, "/api/secrets", "/api/secrets?deleted=true")
    # An environment that was edited is out of use.
    answer(root, {200, 404}, here, f"/api{here}/members", f"/api{here}/tokens", "/api/secrets")
    answer(root, {200}, "/admin/secrets_app/secret/")
    with pytest.MonkeyPatch.context() as patched:
        # The menus of lists, which take a third of a page's time, are the same beside all other lists.
        patched.setattr("operations_app.frame.navigation.Layout.nav", [])
        patched.setattr("operations_app.frame.navigation.Layout.notices", 0)
        patched.setattr(admin.site, "get_app_list", lambda *_: [])
        answer(alice, {200}, "/secrets", "/environments", "/activity")
        answer(root, {200}, "/secrets")
        for model in ("membership", "servicetoken", "user", "environment"):
            answer(root, {200}, f"/admin/environments_app/{model}/")


def answer(client: Client, statuses: set[int], *paths: str) -> None:
    for path in paths:
        assert client.get(path).status_code in statuses, path


def found_by_checks(*needles: object) -> list[str]:
    """Return what the checks say about an object."""
    told = [f"{problem.object}: {problem.message}" for problem in (*verify(), *run_checks())]
    return [line for line in told if all(str(needle) in line for needle in needles)]


def violations() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION))


def test_nothing_is_found_where_nothing_was_touched(place: Place) -> None:
    assert found_by_checks() == []
    assert place.read().json()["value"] == VALUE
    assert violations() == []
    lists_answer(place)


# --- Sealed columns ------------------------------------------------------------------------------


def _sealed_for(place: Place, context: Context) -> bytes:
    """Seal with the right key for the wrong place, as a bug or a stolen envelope would."""
    return seal(b"planted", data_key=active_key(place.cast.development), context=context)


def _here(place: Place, **changes: Any) -> Context:
    current = version(place.secret, 2)
    standing: dict[str, Any] = {
        "version": current.uuid,
        "secret": current.secret.uuid,
        "number": 2,
        "environment": current.secret.environment.uuid,
        "guarded": False,
    }
    return version_context(**(standing | changes))


def _other_label(place: Place) -> Context:
    here = _here(place)
    return Context(
        deployment=here.deployment,
        label=TARGET_CREDENTIALS,
        row=here.row,
        environment=here.environment,
        parent=here.parent,
    )


def _other_deployment(place: Place) -> Context:
    here = _here(place)
    return Context(
        deployment=uuid4(), label=here.label, row=here.row, environment=here.environment, parent=here.parent
    )


def _flipped(envelope: bytes, index: int) -> bytes:
    edited = bytearray(envelope)
    edited[index] ^= 1
    return bytes(edited)


SEALED: dict[str, Callable[[Place, bytes], bytes | str]] = {
    "of another secret": lambda place, _: version(place.other).value.envelope,
    "of an earlier version": lambda place, _: version(place.secret, 1).value.envelope,
    "of another environment": lambda place, _: version(place.elsewhere).value.envelope,
    "sealed for another row": lambda place, _: _sealed_for(place, _here(place, version=uuid4())),
    "sealed for another secret": lambda place, _: _sealed_for(place, _here(place, secret=place.other.uuid)),
    "sealed for another number": lambda place, _: _sealed_for(place, _here(place, number=3)),
    "sealed for another environment": lambda place, _: _sealed_for(place, _here(place, environment=place.cast.production.uuid)),
    "sealed for another field": lambda place, _: _sealed_for(place, _other_label(place)),
    "sealed for another deployment": lambda place, _: _sealed_for(place, _other_deployment(place)),
    "without its last byte": lambda _, envelope: envelope[:-1],
    "cut to its header": lambda _, envelope: envelope[:97],
    "cut to three bytes": lambda _, envelope: envelope[:3],
    "with a byte more": lambda _, envelope: envelope + b"\0",
    "empty": lambda _, __: b"",
    "plain bytes": lambda _, __: b"hunter2",
    "plain text": lambda _, __: "hunter2 " * 30,
    "plain behind our mark": lambda _, __: b"KPR\x01\x01" + b"hunter2 " * 30,
    "of another format version": lambda _, envelope: envelope[:3] + b"\x02" + envelope[4:],
    "of another suite": lambda _, envelope: envelope[:4] + b"\x00" + envelope[5:],
    "under an unknown data key": lambda _, envelope: envelope[:5] + uuid4().bytes + envelope[21:],
    "under another environment's data key": lambda place, envelope: envelope[:5] + data_key_of(version(place.elsewhere)).uuid.bytes + envelope[21:],
    "with another salt": lambda _, envelope: _flipped(envelope, 21),
    "with another commitment": lambda _, envelope: _flipped(envelope, 53),
    "with another nonce": lambda _, envelope: _flipped(envelope, 85),
    "with another first byte": lambda _, envelope: _flipped(envelope, 97),
    "with another tag": lambda _, envelope: _flipped(envelope, -1),
}  # fmt: skip


@pytest.mark.parametrize("name", SEALED)
def test_a_sealed_value_that_is_not_the_one_sealed_here_is_refused_and_found(
    place: Place, name: str, events: Callable[..., list[AuditEvent]]
) -> None:
    current = version(place.secret, 2)
    planted = SEALED[name](place, current.value.envelope)
    place.sql("UPDATE secrets_app_secretversion SET value = %s WHERE id = %s", planted, current.pk)

    for path in (
        f"/api/secrets/{place.secret.pk}",
        f"/api/secrets/{place.secret.pk}/versions/2",
        "/api/environments/development/secrets/payments/key",
        "/api/environments/development/export?format=json",
        "/api/environments/development/export?format=dotenv&prefix=payments",
    ):
        response = place.alice.get(path)
        assert (response.status_code, response["Content-Type"]) == (409, "application/problem+json"), path
        assert "value" not in response.json()
        assert b"hunter2" not in response.content
        assert b"planted" not in response.content
    page = place.alice.post(f"/secrets/{place.secret.pk}/reveal")
    assert page.status_code == 409
    assert b"hunter2" not in page.content

    assert {event.outcome for event in events("secret.reveal", outcome=Outcome.FAILED)} == {"failed"}
    assert events("secret.export", outcome=Outcome.FAILED)
    assert violations()
    assert found_by_checks(current.uuid)
    for path in (
        "/api/secrets",
        f"/api/secrets/{place.secret.pk}/versions",
        "/secrets",
        f"/secrets/{place.secret.pk}",
    ):
        assert place.alice.get(path).status_code == 200


def test_the_other_secrets_stay_readable(place: Place) -> None:
    current = version(place.secret, 2)
    place.sql("UPDATE secrets_app_secretversion SET value = %s WHERE id = %s", b"", current.pk)
    assert place.alice.get(f"/api/secrets/{place.other.pk}").json()["value"] == "another value"
    assert place.alice.get(f"/api/secrets/{place.secret.pk}/versions/1").json()["value"] == "first value"


def test_two_swapped_values_are_both_refused(place: Place) -> None:
    one, two = version(place.secret, 2), version(place.other)
    for row, envelope in ((one, two.value.envelope), (two, one.value.envelope)):
        place.sql("UPDATE secrets_app_secretversion SET value = %s WHERE id = %s", envelope, row.pk)
    for secret in (place.secret, place.other):
        assert place.alice.get(f"/api/secrets/{secret.pk}").status_code == 409
    assert found_by_checks(one.uuid)
    assert found_by_checks(two.uuid)


def test_a_broken_value_can_still_be_replaced(place: Place) -> None:
    place.sql(
        "UPDATE secrets_app_secretversion SET value = %s WHERE id = %s", b"", version(place.secret, 2).pk
    )
    body = json.dumps({"value": "mended"})
    response = place.alice.put(f"/api/secrets/{place.secret.pk}", body, content_type="application/json")
    assert response.status_code == 200
    assert place.read().json()["value"] == "mended"


# --- Versions ------------------------------------------------------------------------------------


def test_a_version_that_is_pointed_at_another_secret_opens_nowhere(place: Place) -> None:
    moved = version(place.secret, 2)
    place.sql(
        "UPDATE secrets_app_secretversion SET secret_id = %s, number = 2 WHERE id = %s",
        place.other.pk,
        moved.pk,
    )
    # The value does not open at its new place, and its own secret does not fall back to an old one.
    assert place.alice.get(f"/api/secrets/{place.other.pk}/versions/2").status_code == 409
    assert place.read().status_code == 409
    export = place.alice.get("/api/environments/development/export")
    assert (export.status_code, b"another value" in export.content) == (409, False)
    assert {event.object_name for event in violations()} >= {"payments/key"}
    assert found_by_checks(moved.uuid)
    lists_answer(place)


def test_a_version_that_is_given_another_number_opens_nowhere(place: Place) -> None:
    current = version(place.secret, 2)
    place.sql("UPDATE secrets_app_secretversion SET number = 7 WHERE id = %s", current.pk)
    assert place.alice.get(f"/api/secrets/{place.secret.pk}/versions/7").status_code == 409
    assert place.read().status_code == 409
    assert violations()
    assert found_by_checks(current.uuid)
    lists_answer(place)


def test_an_old_version_is_not_brought_back_as_the_current_one(place: Place) -> None:
    one, two = version(place.secret, 1), version(place.secret, 2)
    for number, row in ((9, one), (1, two), (2, one)):
        place.sql("UPDATE secrets_app_secretversion SET number = %s WHERE id = %s", number, row.pk)
    assert place.read().status_code == 409
    assert violations()
    assert found_by_checks(one.uuid)
    assert found_by_checks(two.uuid)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("author", "mallory"),
        ("author_uuid", None),
        ("comment", "nothing to see"),
        ("created_at", "2020-01-01 00:00:00"),
        ("fingerprint", None),
        ("data_key_id", None),
    ],
)
def test_an_edited_column_of_a_version_is_found(place: Place, column: str, value: str | None) -> None:
    current = version(place.secret, 2)
    donor = version(place.elsewhere)
    place.sql(
        f"UPDATE secrets_app_secretversion SET {column} = %s WHERE id = %s"
        if value
        else f"UPDATE secrets_app_secretversion SET {column} = "
        f"(SELECT x FROM (SELECT {column} AS x FROM secrets_app_secretversion WHERE id = %s) AS donor) WHERE id = %s",
        value or donor.pk,
        current.pk,
    )
    if column == "author_uuid":
        # Both were written by alice; somebody else's takes her place.
        place.sql(
            "UPDATE secrets_app_secretversion SET author_uuid = (SELECT uuid FROM environments_app_user WHERE username = 'bob') WHERE id = %s",
            current.pk,
        )
    assert found_by_checks(current.uuid)
    assert place.read().json()["value"] == VALUE
    lists_answer(place)


def test_a_version_that_nobody_recorded_is_found(place: Place) -> None:
    planted = SecretVersion(
        uuid=uuid4(), secret=place.secret, number=3, data_key_id=version(place.secret, 2).data_key_id,
        fingerprint=bytes(version(place.secret, 2).fingerprint), author="mallory", author_uuid=uuid4(),
    )  # fmt: skip
    planted.value = version(place.secret, 2).value.with_context(planted.sealing_context())
    planted.save()
    assert place.alice.get(f"/api/secrets/{place.secret.pk}/versions/3").status_code == 409
    assert found_by_checks(planted.uuid, "no event")


def test_a_version_that_was_removed_is_found(place: Place) -> None:
    gone = version(place.secret, 1)
    place.sql("DELETE FROM secrets_app_secretversion WHERE id = %s", gone.pk)
    assert found_by_checks(gone.uuid, "gone")
    assert place.read().status_code == 200


def test_a_current_version_that_was_removed_fails_the_read_and_the_export(place: Place) -> None:
    gone = version(place.secret, 2)
    place.sql("DELETE FROM secrets_app_secretversion WHERE id = %s", gone.pk)
    assert place.read().status_code == 409
    assert place.alice.get("/api/environments/development/export").status_code == 409
    assert violations()
    assert found_by_checks(gone.uuid, "gone")
    lists_answer(place)


def test_a_secret_that_was_removed_is_found_and_a_purged_one_is_not(place: Place) -> None:
    place.alice.delete(f"/api/secrets/{place.other.pk}")
    assert place.alice.post(f"/api/secrets/{place.other.pk}/purge").status_code == 204
    assert found_by_checks() == []
    place.sql("DELETE FROM secrets_app_secretversion WHERE secret_id = %s", place.secret.pk)
    place.sql("DELETE FROM secrets_app_secret WHERE id = %s", place.secret.pk)
    assert found_by_checks(place.secret.uuid, "gone")


# --- Secrets -------------------------------------------------------------------------------------

SECRETS: dict[str, tuple[str, Callable[[Place], list[Any]]]] = {
    "renamed": ("name = %s", lambda _: ["payments/renamed"]),
    "renamed with a newline": ("name = %s", lambda _: ["pay\nments"]),
    "moved to another environment": ("environment_id = %s, name = 'x'", lambda place: [place.cast.production.pk]),
    "turned back to an old version": ("current_number = %s", lambda _: [1]),
    "turned to a version that is not there": ("current_number = %s", lambda _: [12]),
    "with another previous version": ("previous_number = %s", lambda _: [2]),
    "with a pending version": ("pending_number = %s", lambda _: [1]),
    "of another type": ("secret_type = %s", lambda _: ["PASSWORD"]),
    "of an unknown type": ("secret_type = %s", lambda _: ["nonsense"]),
    "with another uuid": ("uuid = %s", lambda _: [uuid4().hex if connection.vendor == "sqlite" else str(uuid4())]),
    "with an empty proof": ("row_mac = %s", lambda _: [b""]),
    "with the proof of another": ("row_mac = %s", lambda place: [bytes(place.other.row_mac)]),
}  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_an_edited_secret_is_neither_shown_nor_changed(place: Place, name: str) -> None:
    assignment, parameters = SECRETS[name]
    place.sql(
        f"UPDATE secrets_app_secret SET {assignment} WHERE id = %s", *parameters(place), place.secret.pk
    )
    path = f"/api/secrets/{place.secret.pk}"

    assert place.read().status_code == 409
    assert VALUE not in place.read().content.decode()
    # Who may see names alone is told nothing about it either.
    root = place.signed_in(place.cast.root)
    assert root.get(path).status_code == 409
    assert root.get(f"{path}/versions").status_code == 409
    for method, address, body in (
        ("put", path, {"value": "v"}),
        ("patch", path, {"description": "d"}),
        ("delete", path, None),
        ("post", f"{path}/rollback", {"version": 1}),
        ("post", f"{path}/rename", {"name": "other/name"}),
        ("post", f"{path}/copy", {"environment_id": place.cast.production.pk, "name": "a/copy"}),
        ("post", f"{path}/move", {"environment_id": place.cast.production.pk, "name": "a/copy"}),
    ):
        response = getattr(place.alice, method)(address, body, content_type="application/json")
        assert response.status_code == 409, (method, address, response.content)
    assert not Secret.objects.filter(name="a/copy").exists()

    listed = place.alice.get("/api/secrets").json()["results"]
    assert place.secret.pk not in [row["id"] for row in listed]
    export = place.alice.get("/api/environments/development/export")
    assert VALUE not in export.content.decode()
    assert place.alice.get(f"/secrets/{place.secret.pk}").status_code in {200, 409}
    assert violations()
    assert found_by_checks(f"secret {place.secret.pk} ")
    lists_answer(place)


def test_a_deleted_secret_that_is_brought_back_by_sql_stays_out_of_use(place: Place) -> None:
    place.alice.delete(f"/api/secrets/{place.secret.pk}")
    place.sql("UPDATE secrets_app_secret SET live = %s, deleted_at = NULL WHERE id = %s", 1, place.secret.pk)
    assert place.read().status_code == 409
    assert found_by_checks(f"secret {place.secret.pk} ")
    lists_answer(place)


def test_a_secret_hidden_by_sql_is_found(place: Place) -> None:
    place.sql("UPDATE secrets_app_secret SET live = NULL WHERE id = %s", place.secret.pk)
    assert place.read().status_code == 404
    assert place.alice.post(f"/api/secrets/{place.secret.pk}/restore").status_code == 409
    assert found_by_checks(f"secret {place.secret.pk} ")
    lists_answer(place)


# --- Data keys -----------------------------------------------------------------------------------

DATA_KEYS: dict[str, tuple[str, Callable[[Place], list[Any]]]] = {
    "an edited wrapped key": ("wrapped_key = %s", lambda _: [b"\1" * 60]),
    "an empty wrapped key": ("wrapped_key = %s", lambda _: [b""]),
    "another environment's wrapped key": ("wrapped_key = %s", lambda place: [bytes(data_key_of(version(place.elsewhere)).wrapped_key)]),
    "another key encryption key": ("key_uri = %s", lambda _: ["local:elsewhere"]),
    "another provider": ("provider = %s", lambda _: ["kms"]),
    "an unknown provider": ("provider = %s", lambda _: ["nonsense"]),
    "another context": ("context = %s", lambda _: [json.dumps({"team": "mallory"})]),
    "a context of another shape": ("context = %s", lambda _: [json.dumps(["x"])]),
    "another purpose": ("purpose = %s", lambda _: ["row-mac"]),
}  # fmt: skip


@pytest.mark.parametrize("name", DATA_KEYS)
def test_an_edited_data_key_opens_nothing(place: Place, name: str) -> None:
    assignment, parameters = DATA_KEYS[name]
    key = data_key_of(version(place.secret, 2))
    if name == "another purpose":
        # The system key of the purpose must not be in the way of its uniqueness.
        place.sql("UPDATE secrets_app_datakey SET active = NULL WHERE id = %s", key.pk)
    place.sql(f"UPDATE secrets_app_datakey SET {assignment} WHERE id = %s", *parameters(place), key.pk)
    forget_data_keys()
    response = place.read()
    assert response.status_code in {409, 503}
    assert VALUE not in response.content.decode()
    assert AuditEvent.objects.filter(action=Action.SECRET_REVEAL, outcome=Outcome.FAILED).exists()
    assert place.alice.get("/api/environments/development/export").status_code in {409, 503}
    assert found_by_checks(version(place.secret, 2).uuid)
    lists_answer(place)


def test_a_data_key_that_is_given_to_another_environment_opens_nothing(place: Place) -> None:
    key = data_key_of(version(place.elsewhere))
    place.sql(
        "UPDATE secrets_app_datakey SET active = NULL WHERE environment_id = %s", place.cast.development.pk
    )
    place.sql(
        "UPDATE secrets_app_datakey SET environment_id = %s, scope = (SELECT uuid FROM environments_app_environment WHERE id = %s) WHERE id = %s",
        place.cast.development.pk, place.cast.development.pk, key.pk,
    )  # fmt: skip
    forget_data_keys()
    # Neither are new values sealed under the planted key nor do its own values open any more.
    put = place.alice.put(
        f"/api/secrets/{place.secret.pk}", {"value": "new"}, content_type="application/json"
    )
    assert put.status_code == 409
    assert place.alice.get(f"/api/secrets/{place.elsewhere.pk}").status_code == 409
    assert violations()
    lists_answer(place)


# --- Who may do what -----------------------------------------------------------------------------


class Forgery(Protocol):
    def __call__(self, place: Place) -> tuple[Client, str]:
        """Edit something by SQL; return who tries to gain by it, and what the checks must name."""


def _membership(place: Place, name: str) -> Membership:
    return Membership.objects.get(user__username=name, environment=place.cast.development)


def _edit(table: str, assignment: str) -> str:
    return f"UPDATE {table} SET {assignment} WHERE id = %s"


MEMBERSHIP, TOKEN, USER = (
    "environments_app_membership",
    "environments_app_servicetoken",
    "environments_app_user",
)


def _edited_membership(assignment: str, *, of: str, by: str | None = None) -> Forgery:
    def forge(place: Place) -> tuple[Client, str]:
        row = _membership(place, of)
        parameters = [place.cast.charlie.pk] if "%s" in assignment else []
        place.sql(_edit(MEMBERSHIP, assignment), *parameters, row.pk)
        return place.signed_in(getattr(place.cast, by or of)), str(row.uuid)

    return forge


def _moved_membership(place: Place) -> tuple[Client, str]:
    # bob reads production, where vera's view of development is no use.
    row = Membership.objects.create(environment=place.cast.production, user=place.cast.bob, role="reader")
    place.sql(f"DELETE FROM {MEMBERSHIP} WHERE id = %s", _membership(place, "bob").pk)
    place.sql(_edit(MEMBERSHIP, "environment_id = %s"), place.cast.development.pk, row.pk)
    return place.signed_in(place.cast.bob), str(row.uuid)


def _inserted_membership(place: Place) -> tuple[Client, str]:
    genuine, uuid = _membership(place, "bob"), uuid4()
    place.sql(
        f"INSERT INTO {MEMBERSHIP} (uuid, row_mac, role, prefix, source, created_at, environment_id, user_id)"
        f" SELECT %s, row_mac, role, prefix, source, created_at, environment_id, %s FROM {MEMBERSHIP}"
        " WHERE id = %s",
        uuid.hex if connection.vendor == "sqlite" else str(uuid), place.cast.charlie.pk, genuine.pk,
    )  # fmt: skip
    return place.signed_in(place.cast.charlie), str(uuid)


def _inserted_group_place(place: Place) -> tuple[Client, str]:
    group = Group.objects.create(name="readers")
    Membership.objects.create(environment=place.cast.development, group=group, role="reader")
    genuine, uuid = GroupMember.objects.create(user=place.cast.bob, group=group), uuid4()
    place.sql(
        "INSERT INTO environments_app_groupmember (uuid, row_mac, user_id, group_id) VALUES (%s, %s, %s, %s)",
        uuid.hex if connection.vendor == "sqlite" else str(uuid), bytes(genuine.row_mac), place.cast.charlie.pk, group.pk,
    )  # fmt: skip
    return place.signed_in(place.cast.charlie), str(uuid)


def _edited_token(assignment: str, *, role: str, **options: Any) -> Forgery:
    def forge(place: Place) -> tuple[Client, str]:
        environment = place.cast.production if "environment_id" in assignment else place.cast.development
        actor = place.cast.principal(place.cast.alice)
        token, text = issue(actor=actor, environment=environment, role=role, name="forged", **options)
        if "revoked" in assignment:
            place.sql(_edit(TOKEN, "revoked_at = created_at"), token.pk)
            token.refresh_from_db()
            token.save()
        parameters = [place.cast.development.pk] if "environment_id" in assignment else []
        place.sql(_edit(TOKEN, assignment), *parameters, token.pk)
        return Client(headers={"authorization": f"Bearer {text}"}), str(token.uuid)

    return forge


def _foreign_token_secret(place: Place) -> tuple[Client, str]:
    actor = place.cast.principal(place.cast.alice)
    weak, text = issue(actor=actor, environment=place.cast.development, role="viewer", name="weak")
    strong, _ = issue(actor=actor, environment=place.cast.development, role="manager", name="strong")
    place.sql(_edit(TOKEN, "secret_hash = %s, pepper_id = %s"), weak.secret_hash, weak.pepper_id, strong.pk)
    secret = text.rpartition(f"{weak.public_id}_")[2]
    return Client(headers={"authorization": f"Bearer kpr_{strong.public_id}_{secret}"}), str(strong.uuid)


def _edited_user(assignment: str, *, of: str) -> Forgery:
    def forge(place: Place) -> tuple[Client, str]:
        person = getattr(place.cast, of)
        client = place.signed_in(person)
        place.sql(_edit(USER, assignment), person.pk)
        return client, str(person.uuid)

    return forge


FORGERIES: dict[str, Forgery] = {
    "a raised role": _edited_membership("role = 'manager'", of="vera"),
    "an unknown role": _edited_membership("role = 'emperor'", of="bob"),
    "a membership given to somebody else": _edited_membership("user_id = %s", of="bob", by="charlie"),
    "a membership of another environment": _moved_membership,
    "an inserted membership": _inserted_membership,
    "an inserted place in a group": _inserted_group_place,
    "a token's raised role": _edited_token("role = 'manager'", role="viewer"),
    "a token of another environment": _edited_token("environment_id = %s", role="reader"),
    "a token without its prefix": _edited_token("prefix = ''", role="reader", prefix="elsewhere"),
    "a token without its networks": _edited_token("cidrs = '[]'", role="reader", cidrs=["203.0.113.0/24"]),
    "a token whose networks are no list": _edited_token(
        "cidrs = '7'", role="reader", cidrs=["203.0.113.0/24"]
    ),
    "a token that was revoked": _edited_token("revoked_at = NULL", role="reader"),
    "a token with another token's secret": _foreign_token_secret,
    "a person made administrator": _edited_user("role = 'admin'", of="bob"),
    "a person with a planted password": _edited_user("password = 'planted'", of="bob"),
    "a person under another name": _edited_user("username = 'boss'", of="bob"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_right_grants_nothing_and_is_found(place: Place, name: str) -> None:
    client, uuid = FORGERIES[name](place)
    for path in (
        f"/api/secrets/{place.secret.pk}",
        "/api/environments/development/secrets/payments/key",
        "/api/environments/development/export",
        "/api/environments/development/members",
    ):
        response = client.get(path)
        assert response.status_code in {401, 403, 404}, (path, response.status_code)
        assert VALUE not in response.content.decode()
    assert client.get("/api/tokens").status_code in {401, 403}
    listed = client.get("/api/secrets")
    assert listed.status_code == 401 or listed.json()["results"] == []
    assert violations()
    assert found_by_checks(uuid)
    lists_answer(place)


def test_an_extended_membership_stays_over(place: Place) -> None:
    row = _membership(place, "bob")
    row.expires_at = row.created_at
    row.save()
    place.sql(_edit(MEMBERSHIP, "expires_at = NULL"), row.pk)
    assert place.read(place.cast.bob).status_code == 404
    assert found_by_checks(row.uuid)
    lists_answer(place)


def test_a_planted_password_signs_nobody_in(place: Place) -> None:
    place.sql(_edit(USER, "password = %s"), make_password("planted-by-mallory"), place.cast.root.pk)
    response = Client().post("/sign-in", {"username": "root", "password": "planted-by-mallory"})
    assert response.status_code != 302
    assert violations()
    assert found_by_checks(place.cast.root.uuid)
    assert place.alice.get("/api/secrets").status_code == 200


def test_a_forged_token_cannot_be_told_from_an_unknown_one(place: Place) -> None:
    client, _ = FORGERIES["a token's raised role"](place)
    forged = client.get("/api/whoami")
    unknown = Client(headers={"authorization": f"Bearer kpr_{'a' * 22}_{'b' * 43}"}).get("/api/whoami")
    assert (forged.status_code, forged.content) == (unknown.status_code, unknown.content)


# --- Environments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "assignment", ["kms_key_alias = 'alias/mallory'", "name = 'renamed'", "protected = 1"]
)
def test_an_edited_environment_is_out_of_use(place: Place, assignment: str) -> None:
    place.sql(
        f"UPDATE environments_app_environment SET {assignment} WHERE id = %s", place.cast.development.pk
    )
    assert place.read().status_code in {404, 409}
    body = {"environment_id": place.cast.development.pk, "name": "n", "secret_type": "TEXT", "value": "v"}
    assert place.alice.post("/api/secrets", body, content_type="application/json").status_code == 404
    assert violations()
    assert found_by_checks(place.cast.development.uuid)
    assert place.alice.get(f"/api/secrets/{place.elsewhere.pk}").status_code == 200
    lists_answer(place)


# --- The command ---------------------------------------------------------------------------------


def test_verify_audit_fails_and_names_what_was_edited(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("verify_audit")
    current = version(place.secret, 2)
    place.sql(
        "UPDATE secrets_app_secretversion SET value = %s WHERE id = %s",
        _flipped(current.value.envelope, 100),
        current.pk,
    )
    with pytest.raises(SystemExit) as stopped:
        call_command("verify_audit")
    assert stopped.value.code == 1
    assert str(current.uuid) in capsys.readouterr().out


def test_tokens_that_were_never_used_are_not_in_the_way(place: Place) -> None:
    assert not ServiceToken.objects.exists()
    lists_answer(place)


def data_key_of(row: SecretVersion) -> DataKey:
    """Return the data key that seals a version."""
    return DataKey.objects.get(versions=row)
