"""Going back to the key file: nothing written since is lost, and no doubtful backup changes anything."""

import hashlib
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.interfaces import Purpose
from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from audit_app.verification.stream_verifier import verify
from environments_app.tests.cast import Cast, make_cast
from secrets_app.errors import KeyUnavailable, MigrationRefused
from secrets_app.key_operations.migration import rollback
from secrets_app.key_operations.migration.finalize import finalise
from secrets_app.key_operations.migration.rollback import RolledBack, roll_back
from secrets_app.key_operations.migration.service import put_wraps
from secrets_app.key_operations.rotation import replace_system_keys
from secrets_app.keys import data_keys, wrapping
from secrets_app.keys.data_keys import active_key, replace_key
from secrets_app.keys.providers.registry import provider_named
from secrets_app.maintenance.integrity_checks import versions as damaged_versions
from secrets_app.models import DataKey, KeyMigration
from secrets_app.tests.kept import VALUE, keep
from secrets_app.tests.key_operations.migration.test_migrate_to_kms import both, moved, value, wraps
from secrets_app.tests.keys.conftest import forget_process

__all__ = ["both"]
pytestmark = pytest.mark.every_database_weekly


@pytest.fixture
def cast(both: str) -> Cast:
    return make_cast()


@pytest.fixture
def backup(cast: Cast) -> Path:
    """The backup of a migration that is done but for its end."""
    keep(cast, "before")
    return Path(moved()["(system)"].backup)


def rolled_back(path: Path) -> RolledBack:
    """Roll back in a process of its own."""
    forget_process()
    return roll_back(path)


def refusal(path: Path) -> str:
    """Return why a rollback is refused, after making sure that it changed nothing."""
    before = list(DataKey.objects.order_by("pk").values())
    with pytest.raises(MigrationRefused) as refused:
        rolled_back(path)
    assert list(DataKey.objects.order_by("pk").values()) == before
    return str(refused.value)


def edited(path: Path, edit: Any) -> Path:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return path


class TestTheBackup:
    def test_it_holds_every_old_wrap_and_no_key(self, cast: Cast, settings: Settings) -> None:
        key = active_key(cast.development)
        path = Path(moved()["(system)"].backup)
        content = path.read_text()
        assert len(json.loads(content)["data_keys"]) == DataKey.objects.count()
        assert {entry["provider"] for entry in json.loads(content)["data_keys"]} == {"local"}
        for secret in (key.material, Path(settings.KEEPER_LOCAL_KEY_FILE).read_bytes()):
            assert secret.hex() not in content
        assert path.stat().st_mode & 0o777 == 0o600

    def test_the_trail_knows_its_digest(self, backup: Path) -> None:
        event = AuditEvent.objects.get(action=Action.KEY_MIGRATION_START)
        assert hashlib.sha256(backup.read_bytes()).hexdigest() in event.details


class TestGoingBack:
    def test_nothing_that_was_written_since_is_lost(
        self, cast: Cast, backup: Path, settings: Settings
    ) -> None:
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        replace_key(cast.development)
        after = keep(cast, "after")
        active_key(cast.production)
        settings.KEY_MANAGEMENT_BACKEND = "local"
        assert rolled_back(backup).data_keys == DataKey.objects.count() == len(Purpose) + 3
        assert wraps() == {("local", "")}
        settings.KEY_MIGRATION, settings.KMS_KEY_ID = False, ""
        forget_process()
        assert value(cast, after) == VALUE
        assert not [*verify(), *damaged_versions()]

    def test_kms_is_not_needed(self, cast: Cast, backup: Path, settings: Settings) -> None:
        settings.AWS_ENDPOINT_URL_KMS = "http://127.0.0.1:1"
        rolled_back(backup)
        assert provider_named("kms").calls.total() == 0
        assert wraps() == {("local", "")}

    def test_a_lost_wrap_comes_from_the_backup(self, backup: Path, settings: Settings) -> None:
        DataKey.objects.update(other_provider="", other_key_uri="", other_wrapped_key=b"")
        settings.AWS_ENDPOINT_URL_KMS = "http://127.0.0.1:1"
        rolled_back(backup)
        assert wraps() == {("local", "")}

    def test_it_is_recorded_and_repeated_it_does_nothing(self, backup: Path) -> None:
        rolled_back(backup)
        assert AuditEvent.objects.filter(action=Action.KEY_MIGRATION_ROLLBACK).count() == 1
        assert rolled_back(backup).data_keys == 0
        assert AuditEvent.objects.filter(action=Action.KEY_MIGRATION_ROLLBACK).count() == 1

    def test_one_that_was_interrupted_goes_on(
        self, backup: Path, monkeypatch: pytest.MonkeyPatch, cast: Cast
    ) -> None:
        put, calls = put_wraps, []

        def killed(*asked: Any, **more: Any) -> bool:
            calls.append(asked)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return put(*asked, **more)

        monkeypatch.setattr(rollback, "put_wraps", killed)
        with pytest.raises(KeyboardInterrupt):
            rolled_back(backup)
        assert wraps() == {("local", "kms"), ("kms", "local")}
        monkeypatch.setattr(rollback, "put_wraps", put)
        assert rolled_back(backup).data_keys == DataKey.objects.count() - 2
        assert wraps() == {("local", "")}

    def test_another_migration_may_follow(self, cast: Cast, backup: Path) -> None:
        rolled_back(backup)
        second = Path(moved()["(system)"].backup)
        assert "out of date" in refusal(backup)
        rolled_back(second)
        assert wraps() == {("local", "")}


class TestAProcessWhoseSettingsWereForgotten:
    """It makes no data key that others, or itself later, would not open; what there is serves on."""

    def test_under_kms_after_a_rollback(self, cast: Cast, backup: Path, settings: Settings) -> None:
        rolled_back(backup)
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        after = keep(cast, "after")
        assert value(cast, after) == VALUE
        calls = provider_named("kms").calls.total()
        for make in (replace_key, active_key):
            with pytest.raises(
                KeyUnavailable, match="rolled back to the key file: set KEY_MANAGEMENT_BACKEND"
            ):
                make(cast.development if make is replace_key else cast.production)
        with pytest.raises(KeyUnavailable, match="rolled back"):
            replace_system_keys()
        assert wraps() == {("local", "")}
        assert provider_named("kms").calls.total() == calls

    def test_under_the_key_file_after_finalising(self, cast: Cast, backup: Path, settings: Settings) -> None:
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        finalise()
        settings.KEY_MANAGEMENT_BACKEND = "local"
        forget_process()
        assert value(cast, keep(cast, "after")) == VALUE
        with pytest.raises(KeyUnavailable, match="was finalised: set KEY_MANAGEMENT_BACKEND"):
            replace_key(cast.development)
        assert wraps() == {("kms", "")}

    def test_one_that_was_made_while_the_migration_came_and_went_is_not_stored(
        self, cast: Cast, backup: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        wrap_new = wrapping.wrap_new

        def slowly(**asked: Any) -> Any:
            made = wrap_new(**asked)
            if not rollbacks:
                settings.KEY_MANAGEMENT_BACKEND = "local"
                rollbacks.append(roll_back(backup))
                settings.KEY_MANAGEMENT_BACKEND = "kms"
            return made

        rollbacks: list[RolledBack] = []
        monkeypatch.setattr(data_keys, "wrap_new", slowly)
        with pytest.raises(KeyUnavailable, match="rolled back"):
            replace_key(cast.development)
        assert wraps() == {("local", "")}

    def test_a_new_migration_lets_it_make_keys_again(
        self, cast: Cast, backup: Path, settings: Settings
    ) -> None:
        rolled_back(backup)
        moved()
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        replace_key(cast.development)
        assert wraps() == {("kms", "local")}


class TestRefusals:
    def test_one_that_was_cut_off(self, backup: Path) -> None:
        backup.write_bytes(backup.read_bytes()[:-40])
        assert "not whole" in refusal(backup)

    @pytest.mark.parametrize(
        "edit",
        [
            lambda body: body["data_keys"].pop(),
            lambda body: body["data_keys"][0].update(key_uri="local:0000000000000000"),
            lambda body: body.update(made_at="2020-01-01T00:00:00.000000Z"),
            lambda body: body.update(mac="00" * 48),
        ],
        ids=["an entry gone", "another key file", "another time", "another tag"],
    )
    def test_one_that_was_edited(self, backup: Path, edit: Any) -> None:
        assert "edited" in refusal(edited(backup, edit))

    @pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"mac": "zz"}', '{"mac": 1}'])
    def test_what_is_no_backup(self, backup: Path, content: str) -> None:
        backup.write_text(content)
        assert refusal(backup)

    def test_one_of_a_later_format(self, backup: Path) -> None:
        assert "this release" in refusal(edited(backup, lambda body: body.update(version=2)))

    def test_one_of_another_deployment(self, backup: Path) -> None:
        other = "6a1f0d9e-6d5c-4a0b-9d40-0d7a3c1b2e4f"
        assert f"another deployment ({other})" in refusal(
            edited(backup, lambda body: body.update(deployment=other))
        )

    def test_one_of_a_migration_that_is_not_known(self, backup: Path) -> None:
        take_away(KeyMigration.objects.all())
        assert "does not know" in refusal(backup)

    def test_one_that_is_not_there(self, backup: Path, tmp_path: Path) -> None:
        assert "No such file" in refusal(tmp_path / "nowhere.json")

    def test_after_it_was_finalised(self, backup: Path, settings: Settings) -> None:
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        finalise()
        settings.KEY_MANAGEMENT_BACKEND = "local"
        assert "finalised at" in refusal(backup)

    def test_a_migration_that_somebody_else_reopened(self, backup: Path, settings: Settings) -> None:
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        finalise()
        settings.KEY_MANAGEMENT_BACKEND = "local"
        KeyMigration.objects.update(open=True, outcome="")
        assert "not written by Keeper" in refusal(backup)

    def test_under_another_key_file(self, backup: Path, settings: Settings, tmp_path: Path) -> None:
        (tmp_path / "another.key").write_bytes(b"x" * 32)
        settings.KEEPER_LOCAL_KEY_FILE = str(tmp_path / "another.key")
        settings.AWS_ENDPOINT_URL_KMS = "http://127.0.0.1:1"
        assert "put the right key file back" in refusal(backup)

    @pytest.mark.parametrize(("name", "given"), [("KEY_MIGRATION", False), ("KEY_MANAGEMENT_BACKEND", "kms")])
    def test_with_other_settings(self, backup: Path, settings: Settings, name: str, given: object) -> None:
        setattr(settings, name, given)
        assert name in refusal(backup)


class TestCommand:
    def test_it_says_what_went_back(self, backup: Path, capsys: Any) -> None:
        forget_process()
        call_command("rollback_kms", str(backup))
        assert f"rolled back: {DataKey.objects.count()} data keys moved" in capsys.readouterr().out

    def test_it_says_so_in_json(self, backup: Path) -> None:
        forget_process()
        out = StringIO()
        call_command("rollback_kms", str(backup), "--format", "json", stdout=out)
        assert json.loads(out.getvalue())["ok"] is True

    def test_a_refusal_exits_with_one(self, backup: Path) -> None:
        backup.write_text("")
        with pytest.raises(CommandError) as refused:
            call_command("rollback_kms", str(backup))
        assert refused.value.returncode == 1
