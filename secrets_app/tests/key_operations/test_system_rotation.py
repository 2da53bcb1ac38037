"""Replacing the system keys: new rows get new ones, old ones verify, and running processes keep up."""

from base64 import b32decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db.models import BinaryField
from pytest_django import Settings

from audit_app.checkpoints.inspection import whole_log
from audit_app.checkpoints.schedule import anchor_log
from audit_app.crypto.checkpoint_statement import Statement
from audit_app.errors import KeyringUnavailable
from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.events.actors import NIL
from audit_app.integrity.row_authentication import RowMacField
from audit_app.interfaces import Purpose, keyring
from audit_app.models import AuditEvent
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from audit_app.verification.stream_verifier import verify
from environments_app.authentication import second_factor
from environments_app.authentication.second_factor import open_seed
from environments_app.authorization.rows import access_rows
from environments_app.models import Environment, SecondFactor, User
from environments_app.tests.cast import Cast, make_cast
from secrets_app.envelope import data_key_id
from secrets_app.key_operations.rotation import replace_system_keys, rotations
from secrets_app.keys import system_keyring as system_keys
from secrets_app.keys.sealed_columns import credential_fields
from secrets_app.keys.system_keyring import SystemKeyring
from secrets_app.maintenance.integrity_checks import secrets as edited_secrets
from secrets_app.maintenance.integrity_checks import versions as damaged_versions
from secrets_app.models import DataKey, Secret
from secrets_app.services.comparison import Difference, compare
from secrets_app.tests.kept import change, keep
from secrets_app.tests.keys.conftest import forget_process

pytestmark = pytest.mark.every_database


@pytest.fixture
def cast(db: None) -> Cast:
    cast = make_cast()
    # What a transaction has made, as a test's, is pinned by those alone that open it afterwards.
    forget_process()
    return cast


def key_of(tag: bytes | memoryview) -> bytes:
    return bytes(tag)[:16]


def event() -> AuditEvent:
    record(
        actor=actors.system(),
        action=Action.CONFIGURATION_CHANGE,
        stream=streams.SYSTEM,
        object=AuditObject("test", actors.NIL, "test"),
    )
    return AuditEvent.objects.latest("pk")


def running() -> SystemKeyring:
    """A process that opened its keys before they are replaced."""
    keys = SystemKeyring()
    keys.open_all()
    return keys


# Columns of bytes that hold nothing sealed, and what seals the others anew: one that is added fails.
PLAIN_BYTES = {
    "environments_app.Passkey.credential_id", "environments_app.Passkey.public_key",
    "audit_app.AuditEvent.hash", "audit_app.AuditEvent.mac", "audit_app.AuditEvent.previous_hash",
    "audit_app.Checkpoint.digest", "audit_app.Checkpoint.previous_digest", "audit_app.Checkpoint.signature",
    "audit_app.Installation.mac", "audit_app.Installation.also_mac", "audit_app.StreamHead.hash",
    "environments_app.Approval.digest", "secrets_app.EnvironmentSnapshot.digest",
    "secrets_app.EnvironmentSnapshot.row_digests", "secrets_app.Secret.tags_mac",
    "secrets_app.SecretVersion.fingerprint",
}  # fmt: skip
SEALED_ANEW = {
    "environments_app.EventSink.secret": "reseal_sink_secrets, with the system keys",
    "environments_app.OidcClientKey.private": "reseal_client_keys, with the system keys",
    "environments_app.OidcProvider.secret": "reseal_secrets, with the system keys",
    "environments_app.SecondFactor.seed": "reseal_seeds, with the system keys",
    "secrets_app.EnvironmentSnapshot.value": "none: reseal deletes it",
    "secrets_app.DataKey.wrapped_key": "rewrap",
    "secrets_app.DataKey.other_wrapped_key": "rewrap",
    "secrets_app.SecretVersion.value": "reseal",
}


def test_every_sealed_column_is_sealed_anew_by_something() -> None:
    credentials = {f"{field.model._meta.label}.{field.name}" for field in credential_fields()}
    columns = {
        f"{model._meta.label}.{field.name}"
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if isinstance(field, BinaryField) and not isinstance(field, RowMacField)
    }
    assert columns == PLAIN_BYTES | SEALED_ANEW.keys() | credentials


def begun(cast: Cast, user: User) -> bytes:
    """Begin a second factor, and return its seed."""
    return b32decode(second_factor.begin(actor=cast.principal(user), user=user).secret)


class TestReplacing:
    def test_new_rows_are_under_new_keys_and_old_ones_still_verify(self, cast: Cast) -> None:
        old_row, old_event = keep(cast, "old"), event()
        assert replace_system_keys() == len(Purpose)
        new_row, new_event = keep(cast, "new"), event()
        assert key_of(old_row.row_mac) != key_of(new_row.row_mac)
        assert key_of(old_event.mac) != key_of(new_event.mac)
        for _ in range(2):
            assert Secret.objects.get(pk=old_row.pk).is_authentic()
            assert Secret.objects.get(pk=new_row.pk).is_authentic()
            assert not [*verify(), *edited_secrets(), *damaged_versions()]
            forget_process()

    def test_each_has_its_event_which_names_the_one_before(self, cast: Cast) -> None:
        keyring().open_all()
        old = DataKey.objects.get(purpose="row-mac")
        replace_system_keys()
        new = DataKey.objects.get(purpose="row-mac", active=True)
        told = AuditEvent.objects.get(action=Action.DATA_KEY_CREATE, object_uuid=new.uuid)
        assert f'"replaces":"{old.uuid}"' in told.details
        forget_process()
        keyring().open_all()
        assert AuditEvent.objects.filter(object_uuid=new.uuid).count() == 1

    def test_checkpoints_go_on_under_the_new_key_without_a_gap(
        self, cast: Cast, settings: Settings, tmp_path: Path
    ) -> None:
        settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path}"]
        elsewhere = running()
        assert anchor_log(at_once=True)
        replace_system_keys()
        second = anchor_log(at_once=True)
        assert second
        said = Statement.parsed(second.statement)
        assert said.succession
        assert said.succession.by != said.key_id
        assert not list(whole_log())
        # A process that began before knows the new key when it meets it.
        assert elsewhere.public_key(said.key_id) == said.public_key
        assert elsewhere.public_key(NIL) is None

    def test_it_is_part_of_rotate_reencrypt(self, cast: Cast) -> None:
        done = {
            rotation.name: rotation for rotation in rotations(reencrypt=True, progress=lambda *_told: None)
        }
        assert done["(system)"].system_keys_replaced == len(Purpose)
        assert DataKey.objects.filter(environment=None).count() == 2 * len(Purpose)

    def test_seeds_of_second_factors_are_sealed_anew_and_open(
        self, cast: Cast, sql: Callable[..., None]
    ) -> None:
        seeds = {user: begun(cast, user) for user in (cast.alice, cast.root)}
        before = {row.pk: bytes(row.seed) for row in SecondFactor.objects.all()}
        done = next(rotations(reencrypt=True, progress=lambda *_told: None))
        assert (done.second_factors_resealed, done.problems) == (2, [])
        active = DataKey.objects.get(purpose=Purpose.SECOND_FACTOR, active=True)
        for row in SecondFactor.objects.select_related("user"):
            assert bytes(row.seed) != before[row.pk]
            assert data_key_id(bytes(row.seed)) == active.uuid
            assert open_seed(row) == seeds[row.user]
        assert not [*access_rows(), *verify()]
        # One that was edited stays as it is, is told, and stops no other.
        edited = SecondFactor.objects.get(user=cast.alice)
        sql(
            "UPDATE environments_app_secondfactor SET last_step = 1, seed = %s WHERE id = %s", b"x", edited.pk
        )
        done = next(rotations(reencrypt=True, progress=lambda *_told: None))
        assert done.second_factors_resealed == 1
        assert "alice" in done.problems[0]
        assert bytes(SecondFactor.objects.get(pk=edited.pk).seed) == b"x"

    def test_and_of_none_that_is_for_one_environment(self, cast: Cast) -> None:
        keep(cast)
        list(rotations(environment="development", reencrypt=True, progress=lambda *_told: None))
        assert DataKey.objects.filter(environment=None).count() == len(Purpose)

    def test_a_failure_leaves_the_old_ones(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        keyring().open_all()
        before = list(DataKey.objects.values_list("uuid", "active"))
        monkeypatch.setattr(DataKey, "save", _refused)
        with pytest.raises(RuntimeError):
            replace_system_keys()
        assert list(DataKey.objects.values_list("uuid", "active")) == before
        event()
        assert not list(verify())


class TestRunningProcesses:
    def test_they_verify_what_was_written_under_a_newer_key(self, cast: Cast) -> None:
        before = running()
        replace_system_keys()
        tag = keyring().mac(Purpose.ROW_MAC, b"message")
        assert before.verify(Purpose.ROW_MAC, b"message", tag)
        assert not before.verify(Purpose.ROW_MAC, b"another", tag)
        assert not before.verify(Purpose.AUDIT_MAC, b"message", tag)

    def test_what_they_write_meanwhile_verifies(self, cast: Cast) -> None:
        before = running()
        replace_system_keys()
        tag = before.mac(Purpose.ROW_MAC, b"message")
        assert keyring().verify(Purpose.ROW_MAC, b"message", tag)
        forget_process()
        assert keyring().verify(Purpose.ROW_MAC, b"message", tag)

    def test_they_write_under_the_new_key_once_they_have_looked(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = running()
        replace_system_keys()
        before.open_all()
        old = before.mac(Purpose.ROW_MAC, b"message")
        monkeypatch.setattr(system_keys, "_LOOK_SECONDS", -1.0)
        before.open_all()
        new = before.mac(Purpose.ROW_MAC, b"message")
        assert key_of(old) != key_of(new) == key_of(keyring().mac(Purpose.ROW_MAC, b"x"))

    def test_a_tag_under_no_key_at_all_is_refused(self, cast: Cast) -> None:
        keys = running()
        assert not keys.verify(Purpose.ROW_MAC, b"message", b"\7" * 48)
        assert not keys.verify(Purpose.ROW_MAC, b"message", b"\7" * 47)

    def test_a_planted_key_opens_nothing(self, cast: Cast) -> None:
        keys = running()
        stolen = DataKey.objects.get(purpose="audit-mac")
        planted = DataKey.objects.create(
            purpose="row-mac",
            provider="local",
            key_uri=stolen.key_uri,
            wrapped_key=stolen.wrapped_key,
            active=None,
        )
        assert not keys.verify(Purpose.ROW_MAC, b"message", planted.uuid.bytes + b"\7" * 32)
        assert keys.verify(Purpose.ROW_MAC, b"message", keys.mac(Purpose.ROW_MAC, b"message"))

    def test_while_kms_is_away_they_go_on_and_say_why_they_cannot_tell(
        self, kms_key: str, cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = running()
        replace_system_keys()
        tag = keyring().mac(Purpose.ROW_MAC, b"message")
        settings.AWS_ENDPOINT_URL_KMS = "http://127.0.0.1:1"
        forget_process()
        monkeypatch.setattr(system_keys, "_LOOK_SECONDS", -1.0)
        before.open_all()
        assert before.verify(Purpose.ROW_MAC, b"message", before.mac(Purpose.ROW_MAC, b"message"))
        with pytest.raises(KeyringUnavailable, match="a system key cannot be opened: KMS"):
            before.verify(Purpose.ROW_MAC, b"message", tag)


def test_environments_are_compared_across_the_replacement(cast: Cast) -> None:
    for name, here, there in (("same", "one", "one"), ("other", "one", "two")):
        keep(cast, name, here)
        put(cast, cast.production, name, there)
    replace_system_keys()
    for name, there in (("same", "one"), ("other", "two")):
        row = Secret.objects.get(environment=cast.production, name=name)
        change(cast, row, "between")
        change(cast, row, there)
    actor = cast.principal(cast.alice)
    rows = compare(actor=actor, left=cast.development, right=cast.production)
    assert {row.name: row.difference for row in rows} == {
        "same": Difference.SAME,
        "other": Difference.DIFFERENT,
    }


def put(cast: Cast, environment: Environment, name: str, text: str) -> None:
    keep(cast, name, text, environment=environment)


def _refused(*_asked: Any, **_more: Any) -> None:
    raise RuntimeError
