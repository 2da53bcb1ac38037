"""Values of the older scheme: they open where they were inventoried, until the migration is final."""

import json
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from audit_app.verification.stream_verifier import verify
from environments_app.tests.cast import Cast, make_cast
from secrets_app.errors import KeyUnavailable, MigrationRefused, NotInventoried, WrongContext
from secrets_app.key_operations.fernet_import import Imported, import_tokens
from secrets_app.key_operations.migration.finalize import finalise
from secrets_app.key_operations.migration.service import plan
from secrets_app.key_operations.report import reports
from secrets_app.keys import legacy_fernet
from secrets_app.keys.legacy_fernet import inventory_tag, is_legacy
from secrets_app.maintenance.integrity_checks import versions as damaged_versions
from secrets_app.models import Secret, SecretVersion
from secrets_app.tests.kept import VALUE, change, keep
from secrets_app.tests.key_operations.migration.test_migrate_to_kms import both, moved, value
from secrets_app.tests.keys.conftest import forget_process
from secrets_app.types.registry import SecretType

__all__ = ["both"]
pytestmark = pytest.mark.every_database_weekly

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def cast(both: str, settings: Settings) -> Cast:
    settings.LEGACY_FERNET_KEYS = [NEW, OLD]
    return make_cast()


def token(text: str = VALUE, key: str = OLD) -> str:
    return Fernet(key).encrypt(text.encode()).decode()


def imported(cast: Cast, **tokens: str) -> list[Imported]:
    return list(import_tokens(environment=cast.development, tokens=tokens, secret_type=SecretType.TEXT))


def secret(name: str) -> Secret:
    return Secret.objects.get(name=name)


def stored(name: str) -> SecretVersion:
    return SecretVersion.objects.get(secret__name=name)


def plant(row: SecretVersion, text: str) -> None:
    """Put a token into a row, as somebody would who goes round Keeper."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE secrets_app_secretversion SET value = %s WHERE id = %s", [text.encode(), row.pk]
        )


class TestImported:
    def test_it_opens_under_any_of_the_keys_and_is_marked(self, cast: Cast) -> None:
        assert all(answer.ok for answer in imported(cast, one=token("a", OLD), two=token("b", NEW)))
        assert (value(cast, secret("one")), value(cast, secret("two"))) == ("a", "b")
        assert is_legacy(stored("one").value.envelope)
        assert stored("one").data_key_id is None
        assert {report.name: report.legacy_values for report in reports()}["development"] == 2
        assert not [*verify(), *damaged_versions()]

    def test_each_is_inventoried_in_the_trail(self, cast: Cast) -> None:
        imported(cast, one=token())
        event = AuditEvent.objects.get(action=Action.SECRET_INVENTORY)
        assert event.object_uuid == stored("one").uuid
        assert VALUE not in event.details

    def test_it_may_be_changed_like_any_other(self, cast: Cast) -> None:
        imported(cast, one=token())
        change(cast, secret("one"), "another")
        assert value(cast, secret("one")) == "another"

    def test_what_cannot_be_imported_is_named_and_the_rest_is(self, cast: Cast) -> None:
        keep(cast, "taken")
        answers = imported(
            cast, taken=token(), foreign=token(key=Fernet.generate_key().decode()), plain="text", good=token()
        )
        assert [answer.name for answer in answers if answer.ok] == ["good"]
        assert all(VALUE not in answer.problem for answer in answers)

    def test_an_import_that_was_done_is_not_done_again(self, cast: Cast) -> None:
        imported(cast, one=token())
        assert not imported(cast, one=token())[0].ok
        assert SecretVersion.objects.count() == 1

    def test_without_its_key_it_says_what_is_missing(self, cast: Cast, settings: Settings) -> None:
        imported(cast, one=token())
        settings.LEGACY_FERNET_KEYS = []
        with pytest.raises(KeyUnavailable, match="LEGACY_FERNET_KEYS"):
            value(cast, secret("one"))
        settings.LEGACY_FERNET_KEYS = [NEW]
        with pytest.raises(WrongContext):
            value(cast, secret("one"))


class TestPlanted:
    def test_a_token_in_a_row_that_was_never_inventoried_does_not_open(self, cast: Cast) -> None:
        keep(cast, "victim")
        plant(stored("victim"), token("chosen by another"))
        with pytest.raises(NotInventoried):
            value(cast, secret("victim"))
        assert AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION).exists()
        assert list(damaged_versions())

    def test_an_inventoried_token_does_not_open_in_another_row(self, cast: Cast) -> None:
        imported(cast, one=token("a"), two=token("b"))
        plant(stored("two"), stored("one").value.envelope.decode())
        with pytest.raises(NotInventoried):
            value(cast, secret("two"))

    def test_another_token_does_not_open_in_an_inventoried_row(self, cast: Cast) -> None:
        imported(cast, one=token("a"))
        plant(stored("one"), token("a"))
        with pytest.raises(NotInventoried):
            value(cast, secret("one"))

    def test_an_inventory_that_was_planted_proves_nothing(self, cast: Cast) -> None:
        imported(cast, one=token("a"))
        keep(cast, "victim")
        row = stored("victim")
        forged = token("b")
        plant(row, forged)
        tag = inventory_tag(uuid4(), forged.encode())
        AuditEvent.objects.filter(action=Action.SECRET_INVENTORY)._raw_delete("default")
        _insert_event(row, f'{{"token":"{tag}"}}')
        with pytest.raises(NotInventoried):
            value(cast, secret("victim"))

    def test_it_is_not_re_sealed_either(self, cast: Cast) -> None:
        keep(cast, "victim")
        plant(stored("victim"), token())
        SecretVersion.objects.update(data_key=None)
        done = moved()["development"]
        assert (done.legacy_values, len(done.problems)) == (0, 1)


class TestMigrated:
    def test_the_dry_run_tells_and_proves_them(self, cast: Cast) -> None:
        imported(cast, one=token(), two=token())
        told = {answer.name: answer for answer in plan(batch_size=10, progress=lambda *_told: None)}
        assert (told["development"].legacy_values, told["development"].values_proven) == (2, 2)

    def test_they_are_sealed_like_every_other_value(self, cast: Cast, settings: Settings) -> None:
        imported(cast, one=token("a"), two=token("b"))
        done = moved()["development"]
        assert (done.legacy_values, done.ok) == (2, True)
        settings.LEGACY_FERNET_KEYS = []
        forget_process()
        assert (value(cast, secret("one")), value(cast, secret("two"))) == ("a", "b")
        assert not is_legacy(stored("one").value.envelope)
        assert stored("one").data_key_id == stored("one").value.data_key_id
        assert not [*verify(), *damaged_versions()]

    def test_reencrypt_seals_them_as_well(self, cast: Cast) -> None:
        imported(cast, one=token())
        done = moved(reencrypt=True)["development"]
        assert done.ok
        assert not SecretVersion.objects.filter(data_key=None).exists()

    def test_nothing_is_final_while_one_is_left(self, cast: Cast, settings: Settings) -> None:
        keep(cast)
        moved()
        imported(cast, one=token())
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        with pytest.raises(MigrationRefused, match="1 values are still of the older scheme"):
            finalise()

    def test_after_it_is_final_none_opens(self, cast: Cast, settings: Settings) -> None:
        imported(cast, one=token())
        kept = stored("one").value.envelope.decode()
        moved()
        plant(stored("one"), kept)
        assert value(cast, secret("one")) == VALUE
        moved(reencrypt=True)
        settings.KEY_MANAGEMENT_BACKEND = "kms"
        forget_process()
        finalise()
        plant(stored("one"), kept)
        with pytest.raises(NotInventoried):
            value(cast, secret("one"))
        with pytest.raises(MigrationRefused, match="finalised"):
            imported(cast, two=token())

    def test_an_import_that_meets_the_end_is_undone(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers = iter([False, True])
        monkeypatch.setattr(legacy_fernet, "is_final", lambda: next(answers))
        assert "meanwhile" in imported(cast, one=token())[0].problem
        assert not Secret.objects.exists()


class TestCommand:
    def ran(self, path: Path, *arguments: str) -> list[dict[str, Any]]:
        out = StringIO()
        call_command(
            "import_fernet",
            str(path),
            "--environment",
            "development",
            "--format",
            "json",
            *arguments,
            stdout=out,
        )
        answers: list[dict[str, Any]] = json.loads(out.getvalue())
        return answers

    def test_it_imports_a_file(self, cast: Cast, tmp_path: Path) -> None:
        (tmp_path / "tokens.json").write_text(json.dumps({"app/password": token()}))
        assert self.ran(tmp_path / "tokens.json", "--type", "PASSWORD")[0]["ok"] is True
        assert secret("app/password").secret_type == "PASSWORD"

    def test_one_that_fails_exits_with_one(self, cast: Cast, tmp_path: Path) -> None:
        (tmp_path / "tokens.json").write_text('{"one": "plain text"}')
        with pytest.raises(SystemExit) as stopped:
            self.ran(tmp_path / "tokens.json")
        assert stopped.value.code == 1

    @pytest.mark.parametrize("content", ["", "[]", '{"one": 1}'])
    def test_what_is_no_list_of_tokens_exits_with_two(self, cast: Cast, tmp_path: Path, content: str) -> None:
        (tmp_path / "tokens.json").write_text(content)
        with pytest.raises(CommandError) as refused:
            self.ran(tmp_path / "tokens.json")
        assert refused.value.returncode == 2


def _insert_event(row: SecretVersion, details: str) -> None:
    """Put an event into the table that no key has signed."""
    genuine = AuditEvent.objects.latest("pk")
    fields = {str(field.column): field for field in AuditEvent._meta.concrete_fields if field.column != "id"}
    columns = {column: getattr(genuine, field.attname) for column, field in fields.items()}
    columns |= {
        "uuid": uuid4(),
        "sequence": genuine.sequence + 1000,
        "action": "secret.inventory",
        "object_uuid": row.uuid,
        "details": details,
    }
    prepared = [field.get_db_prep_value(columns[name], connection) for name, field in fields.items()]
    names = ", ".join(columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO audit_app_auditevent ({names}) VALUES ({', '.join(['%s'] * len(columns))})",
            prepared,
        )
