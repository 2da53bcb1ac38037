"""Moving data keys from the key file to KMS: both wraps until it is finalised, and what the command says."""

import json
from contextlib import nullcontext
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.interfaces import Purpose, keyring
from audit_app.models import AuditEvent
from audit_app.verification.stream_verifier import verify
from environments_app.tests.cast import Cast, make_cast
from secrets_app.errors import KeyUnavailable, MigrationRefused
from secrets_app.key_operations.migration import finalize
from secrets_app.key_operations.migration.finalize import finalise
from secrets_app.key_operations.migration.service import Migrated, migrate, plan
from secrets_app.key_operations.migration.state import begin, end, write_backup
from secrets_app.key_operations.rotation import rotations
from secrets_app.keys import data_keys, wrapping
from secrets_app.keys.data_keys import active_key, replace_key
from secrets_app.keys.models import FINALISED, ROLLED_BACK
from secrets_app.keys.providers.registry import provider, provider_named
from secrets_app.maintenance.integrity_checks import versions as damaged_versions
from secrets_app.models import DataKey, KeyMigration, Secret, SecretVersion
from secrets_app.services import read
from secrets_app.tests.kept import VALUE, keep
from secrets_app.tests.keys.conftest import REGION, forget_process

pytestmark = pytest.mark.every_database_weekly


@pytest.fixture
def cast(both: str) -> Cast:
    return make_cast()


@pytest.fixture
def both(db: None, kms_client: Any, moto_url: str, settings: Settings, tmp_path: Path) -> str:
    """The ARN of a KMS key, in an installation that is under its key file and may migrate."""
    arn: str = kms_client.create_key()["KeyMetadata"]["Arn"]
    settings.AWS_REGION, settings.AWS_ENDPOINT_URL_KMS = REGION, moto_url
    settings.KMS_KEY_ID = arn
    settings.KEY_MIGRATION = True
    settings.KEEPER_DATA_DIR = tmp_path
    forget_process()
    return arn


def moved(**options: Any) -> dict[str, Migrated]:
    """Migrate in a process of its own."""
    forget_process()
    chosen = {"batch_size": 200, "progress": lambda *_told: None, **options}
    return {done.name: done for done in migrate(**chosen)}


def value(cast: Cast, secret: Secret) -> str:
    stored = Secret.objects.select_related("environment").get(pk=secret.pk)
    return read.reveal(actor=cast.principal(cast.alice), secret=stored).value


def ran(*arguments: str) -> list[dict[str, Any]]:
    out = StringIO()
    call_command("migrate_to_kms", *arguments, "--format", "json", stdout=out, stderr=StringIO())
    told = json.loads(out.getvalue())
    return told if isinstance(told, list) else [told]


def wraps() -> set[tuple[str, str]]:
    return set(DataKey.objects.values_list("provider", "other_provider"))


class TestDryRun:
    def test_it_is_the_default_and_changes_no_key(self, cast: Cast) -> None:
        keep(cast)
        before = list(DataKey.objects.values())
        told = {answer["name"]: answer for answer in ran()}
        assert told["(system)"]["data_keys"] == len(Purpose)
        assert (told["development"]["data_keys"], told["development"]["values_proven"]) == (1, 1)
        assert list(DataKey.objects.values()) == before
        assert not KeyMigration.objects.exists()

    def test_each_batch_is_recorded_with_its_manifest_before_it_is_opened(self, cast: Cast) -> None:
        for number in range(5):
            keep(cast, f"app/{number}")
        list(plan(batch_size=2, progress=lambda *_told: None))
        batches = AuditEvent.objects.filter(action=Action.DATA_KEY_OPEN).order_by("sequence")
        assert [event.manifest.size for event in batches if event.manifest] == [2, 2, 1]

    def test_a_value_that_does_not_open_is_named(self, cast: Cast, capsys: Any) -> None:
        secret, _ = keep(cast, "one"), keep(cast, "two")
        other = SecretVersion.objects.exclude(secret=secret).get().value
        SecretVersion.objects.filter(secret=secret).update(value=other)
        with pytest.raises(SystemExit) as stopped:
            call_command("migrate_to_kms", "--environment", "development")
        assert stopped.value.code == 1
        out = capsys.readouterr().out
        assert f"PROBLEM: version 1 of secret {secret.uuid}" in out
        assert VALUE not in out

    def test_a_key_that_does_not_work_is_told(self, cast: Cast, both: str, settings: Settings) -> None:
        settings.KMS_KEY_ID = both.rpartition("/")[0] + "/00000000-0000-4000-8000-000000000000"
        forget_process()
        told = list(plan(batch_size=10, progress=lambda *_told: None))
        assert all("there is no KMS key" in answer.problems[0] for answer in told)


class TestMoving:
    def test_every_data_key_gets_both_wraps_and_values_are_not_touched(self, cast: Cast, both: str) -> None:
        secret = keep(cast)
        envelope = SecretVersion.objects.get().value
        done = moved()
        assert all(answer.ok for answer in done.values())
        assert wraps() == {("kms", "local")}
        assert set(DataKey.objects.values_list("key_uri", flat=True)) == {both}
        assert SecretVersion.objects.get().value == envelope
        forget_process()
        assert value(cast, secret) == VALUE
        assert not [*verify(), *damaged_versions()]

    def test_it_costs_one_call_a_data_key(self, cast: Cast) -> None:
        for number in range(4):
            keep(cast, f"app/{number}")
        moved()
        assert provider_named("kms").calls == {"Encrypt": len(Purpose) + 1}

    def test_a_second_run_does_nothing(self, cast: Cast, tmp_path: Path) -> None:
        keep(cast)
        moved()
        again = moved()
        assert not any(answer.data_keys or answer.backup for answer in again.values())
        assert KeyMigration.objects.count() == 1
        assert len(list(tmp_path.glob("key-backup-*"))) == 1

    def test_one_environment_may_go_first(self, cast: Cast) -> None:
        keep(cast)
        active_key(cast.production)
        moved(environment="development")
        assert DataKey.objects.get(provider="kms").environment == cast.development
        assert sum(answer.data_keys for answer in moved().values()) == len(Purpose) + 1

    def test_it_is_recorded(self, cast: Cast) -> None:
        key = active_key(cast.development)
        moved()
        assert AuditEvent.objects.filter(action=Action.KEY_MIGRATION_START).count() == 1
        event = AuditEvent.objects.get(action=Action.DATA_KEY_ROTATE, object_uuid=key.id)
        assert '"step":"migrate"' in event.details

    def test_reencrypt_seals_values_under_a_data_key_that_kms_opens(self, cast: Cast) -> None:
        secret = keep(cast)
        done = moved(reencrypt=True)["development"]
        assert done.values_resealed == 1
        row = DataKey.objects.get(versions=SecretVersion.objects.get())
        assert (row.provider, row.other_provider) == ("kms", "local")
        forget_process()
        assert value(cast, secret) == VALUE

    def test_without_the_setting_nothing_moves(self, cast: Cast, settings: Settings) -> None:
        active_key(cast.development)
        settings.KEY_MIGRATION = False
        with pytest.raises(MigrationRefused, match="KEY_MIGRATION"):
            moved()

    def test_a_row_that_changed_meanwhile_is_not_overwritten(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = active_key(cast.development)
        forget_process()
        kms = provider_named("kms")
        wrap = kms.wrap

        def slowly(**asked: Any) -> bytes:
            DataKey.objects.filter(uuid=key.id).update(wrapped_key=b"a restore put this here")
            return wrap(**asked)

        monkeypatch.setattr(kms, "wrap", slowly)
        list(migrate(environment="development", batch_size=1, progress=lambda *_told: None))
        assert bytes(DataKey.objects.get(uuid=key.id).wrapped_key) == b"a restore put this here"

    def test_two_that_begin_at_once_are_one_with_one_backup(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        active_key(cast.development)
        first: list[Any] = []

        def meanwhile(migration: Any) -> Any:
            if not first:
                first.append(True)
                first.append(begin()[0].uuid)
            return write_backup(migration)

        monkeypatch.setattr("secrets_app.key_operations.migration.state.write_backup", meanwhile)
        migration, backup = begin()
        assert [each.uuid for each in KeyMigration.objects.all()] == [migration.uuid] == first[1:]
        # A backup that belongs to no migration would be taken for one that does.
        assert all(str(migration.uuid) in path.read_text() for path in tmp_path.glob("key-backup-*"))
        assert backup.path.exists()

    def test_keys_of_two_key_files_are_not_moved(self, cast: Cast, sql: Any) -> None:
        active_key(cast.development)
        sql("UPDATE secrets_app_datakey SET key_uri = 'local:another' WHERE purpose = 'values'")
        with pytest.raises(MigrationRefused, match="under 2 key files"):
            moved()
        assert not KeyMigration.objects.exists()
        assert wraps() == {("local", "")}

    def test_a_rotation_does_not_move_what_the_other_provider_wraps(
        self, cast: Cast, settings: Settings
    ) -> None:
        active_key(cast.development)
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        keyring().open_all()
        before = list(DataKey.objects.order_by("pk").values())
        done = {
            each.name: each for each in rotations(environment="development", progress=lambda *_told: None)
        }
        assert ["migrate_to_kms moves it" in problem for problem in done["development"].problems] == [True]
        assert list(DataKey.objects.order_by("pk").values()) == before

    def test_it_follows_no_row_of_an_environment_that_somebody_else_wrote(self, cast: Cast, sql: Any) -> None:
        keep(cast)
        sql("UPDATE environments_app_environment SET kms_key_alias = 'alias/planted'")
        assert "not written by Keeper" in moved()["development"].problems[0]


class TestNewDataKeys:
    @pytest.mark.parametrize("backend", ["local", "kms"])
    def test_they_carry_both_wraps_until_it_is_finalised(
        self, cast: Cast, settings: Settings, backend: str
    ) -> None:
        keep(cast)
        moved()
        settings.KEY_MANAGEMENT_BACKEND = backend
        forget_process()
        row = DataKey.objects.get(uuid=replace_key(cast.development).id)
        assert {row.provider, row.other_provider} == {"local", "kms"}
        assert row.provider == backend

    def test_a_process_that_cannot_make_both_makes_none(self, cast: Cast, settings: Settings) -> None:
        keep(cast)
        moved()
        settings.KEY_MIGRATION, settings.KEY_MANAGEMENT_BACKEND = False, "kms"
        forget_process()
        with pytest.raises(KeyUnavailable, match="KEY_MIGRATION=true"):
            replace_key(cast.development)

    def test_a_machine_with_another_key_file_makes_none(
        self, cast: Cast, settings: Settings, tmp_path: Path
    ) -> None:
        keep(cast)
        moved()
        (tmp_path / "another.key").write_bytes(b"x" * 32)
        settings.KEEPER_LOCAL_KEY_FILE = str(tmp_path / "another.key")
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        with pytest.raises(KeyUnavailable, match="put the right key file"):
            replace_key(cast.development)

    def test_one_that_was_made_while_a_migration_began_is_made_again(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        active_key(cast.production)
        made = []

        def wrapped(**asked: Any) -> Any:
            made.append(wrapping.wrap_new(**asked))
            if len(made) == 1:
                KeyMigration.objects.create(local_key_uri=made[0][0].key_uri)
            return made[-1]

        monkeypatch.setattr(data_keys, "wrap_new", wrapped)
        key = active_key(cast.development)
        assert len(made) == 2
        assert DataKey.objects.get(uuid=key.id).other_provider == "kms"


class TestMixedFleet:
    def test_a_process_opens_what_the_other_kind_has_sealed(self, cast: Cast, settings: Settings) -> None:
        before = keep(cast, "before")
        moved(environment="development")
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        after = keep(cast, "after", environment=cast.development)
        for backend in ("local", "kms"):
            settings.KEY_MANAGEMENT_BACKEND = backend
            forget_process()
            assert (value(cast, before), value(cast, after)) == (VALUE, VALUE)

    def test_the_other_wrap_opens_nothing_in_service(self, cast: Cast, settings: Settings) -> None:
        key = active_key(cast.development)
        moved()
        settings.AWS_ENDPOINT_URL_KMS = "http://127.0.0.1:1"
        forget_process()
        with pytest.raises(KeyUnavailable, match="cannot be reached"):
            data_keys.plain_key(key.id)

    def test_a_wrap_of_the_key_file_opens_no_more_once_the_setting_is_off(
        self, cast: Cast, settings: Settings
    ) -> None:
        key = active_key(cast.development)
        settings.KEY_MIGRATION, settings.KEY_MANAGEMENT_BACKEND = False, "kms"
        forget_process()
        with pytest.raises(KeyUnavailable, match="KEY_MANAGEMENT_BACKEND is kms"):
            wrapping.unwrap(DataKey.objects.get(uuid=key.id))


class TestFinalising:
    def finalised(self, settings: Settings) -> None:
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        finalise()

    def test_the_wraps_of_the_key_file_are_dropped_and_everything_opens(
        self, cast: Cast, settings: Settings
    ) -> None:
        secret = keep(cast)
        moved()
        self.finalised(settings)
        assert wraps() == {("kms", "")}
        assert {bytes(wrap) for wrap in DataKey.objects.values_list("other_wrapped_key", flat=True)} == {b""}
        settings.KEY_MIGRATION = False
        Path(settings.KEEPER_LOCAL_KEY_FILE).unlink()
        forget_process()
        assert value(cast, secret) == VALUE
        assert DataKey.objects.get(uuid=replace_key(cast.development).id).other_provider == ""
        assert AuditEvent.objects.filter(action=Action.KEY_MIGRATION_FINALISE).count() == 1
        assert not list(verify())

    def test_a_dry_run_drops_nothing(self, cast: Cast, settings: Settings) -> None:
        active_key(cast.development)
        moved()
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        assert finalise(dry_run=True).data_keys == len(Purpose) + 1
        assert wraps() == {("kms", "local")}

    def test_repeated_it_says_the_same(self, cast: Cast, settings: Settings) -> None:
        active_key(cast.development)
        moved()
        self.finalised(settings)
        assert finalise().ok

    @pytest.mark.parametrize("outcome", [FINALISED, ROLLED_BACK])
    def test_not_after_the_migration_ended_in_another_way_during_the_proof(
        self, cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch, outcome: str
    ) -> None:
        """The proof may take minutes. After a rollback the key file is needed, which a finalised one is not."""
        active_key(cast.development)
        moved()
        prove = finalize._opened_by_kms

        def meanwhile() -> tuple[list[str], int]:
            row = KeyMigration.objects.get(open=True)
            row.open, row.outcome, row.ended_at = None, outcome, timezone.now()
            row.save()
            return prove()

        monkeypatch.setattr(finalize, "_opened_by_kms", meanwhile)
        with (
            nullcontext()
            if outcome == FINALISED
            else pytest.raises(MigrationRefused, match="in another way meanwhile")
        ):
            self.finalised(settings)

    def test_not_before_everything_has_moved(self, cast: Cast, settings: Settings) -> None:
        keep(cast)
        moved(environment="development")
        with pytest.raises(MigrationRefused, match="run the migration again"):
            self.finalised(settings)

    def test_not_while_this_process_still_makes_keys_under_the_key_file(self, cast: Cast) -> None:
        active_key(cast.development)
        moved()
        with pytest.raises(MigrationRefused, match="set it to kms"):
            finalise()

    def test_not_while_kms_does_not_open_one(self, cast: Cast, settings: Settings, sql: Any) -> None:
        key = active_key(cast.development)
        moved()
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        sql("UPDATE secrets_app_datakey SET wrapped_key = %s WHERE purpose = 'values'", b"planted")
        forget_process()
        done = finalise()
        assert (done.ok, len(done.problems)) == (False, 1)
        assert str(key.id) in done.problems[0]
        assert wraps() == {("kms", "local")}

    def test_a_forged_row_of_a_migration_ends_nothing(self, cast: Cast, settings: Settings, sql: Any) -> None:
        active_key(cast.development)
        moved()
        sql("UPDATE secrets_app_keymigration SET local_key_uri = 'local:planted'")
        with pytest.raises(MigrationRefused, match="not written by Keeper"):
            self.finalised(settings)
        with pytest.raises(MigrationRefused, match="not written by Keeper"):
            moved()
        assert wraps() == {("kms", "local")}

    @pytest.mark.parametrize("what", ["a data key", "a value of the older scheme"])
    def test_not_over_what_came_while_kms_was_asked(
        self, cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch, sql: Any, what: str
    ) -> None:
        """Every data key was opened, and something else is written before the wraps are dropped."""
        keep(cast)
        moved()
        opened = finalize._opened_by_kms

        def meanwhile() -> Any:
            done = opened()
            if what == "a data key":
                sql("UPDATE secrets_app_datakey SET provider = 'local' WHERE purpose = 'values'")
            else:
                sql("UPDATE secrets_app_secretversion SET data_key_id = NULL")
            return done

        monkeypatch.setattr(finalize, "_opened_by_kms", meanwhile)
        with pytest.raises(MigrationRefused, match="meanwhile"):
            self.finalised(settings)
        assert set(DataKey.objects.values_list("other_provider", flat=True)) == {"local"}
        assert KeyMigration.objects.get().open
        assert not AuditEvent.objects.filter(action=Action.KEY_MIGRATION_FINALISE).exists()

    def test_one_that_another_process_has_ended_is_not_ended_again(
        self, cast: Cast, settings: Settings
    ) -> None:
        active_key(cast.development)
        moved()
        migration = KeyMigration.objects.get()
        self.finalised(settings)
        before = KeyMigration.objects.values().get()
        assert end(migration, outcome=FINALISED, action=Action.KEY_MIGRATION_FINALISE, provider="kms")
        with pytest.raises(MigrationRefused, match="in another way"):
            end(migration, outcome=ROLLED_BACK, action=Action.KEY_MIGRATION_ROLLBACK, provider="local")
        assert KeyMigration.objects.values().get() == before
        assert not AuditEvent.objects.filter(action=Action.KEY_MIGRATION_ROLLBACK).exists()

    def test_not_before_values_of_the_older_scheme_are_sealed(
        self, cast: Cast, settings: Settings, sql: Any
    ) -> None:
        keep(cast)
        moved()
        sql("UPDATE secrets_app_secretversion SET data_key_id = NULL")
        with pytest.raises(MigrationRefused, match="older scheme"):
            self.finalised(settings)
        assert wraps() == {("kms", "local")}

    def test_there_has_to_be_a_migration(self, cast: Cast, settings: Settings) -> None:
        with pytest.raises(MigrationRefused, match="nothing to finalise"):
            self.finalised(settings)


class TestCommand:
    def test_it_moves_when_it_is_told_to(self, cast: Cast) -> None:
        keep(cast)
        done = ran("--no-dry-run")
        assert [answer["data_keys"] for answer in done] == [len(Purpose), 1, 0]
        assert Path(done[0]["backup"]).stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize(
        "arguments",
        [["--environment", "nowhere"], ["--finalize", "--environment", "development"]],
    )
    def test_wrong_usage_exits_with_two(self, cast: Cast, arguments: list[str]) -> None:
        with pytest.raises(CommandError) as refused:
            ran(*arguments)
        assert refused.value.returncode == 2

    def test_a_refusal_exits_with_one(self, cast: Cast, settings: Settings) -> None:
        settings.KEY_MIGRATION = False
        with pytest.raises(CommandError, match="KEY_MIGRATION") as refused:
            ran("--no-dry-run")
        assert refused.value.returncode == 1

    def test_finalizing_is_said_in_words(self, cast: Cast, settings: Settings, capsys: Any) -> None:
        active_key(cast.development)
        moved()
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        call_command("migrate_to_kms", "--finalize", "--no-dry-run")
        assert f"is finalised: KMS opens {len(Purpose) + 1} data keys" in capsys.readouterr().out
        assert provider().name == "kms"
