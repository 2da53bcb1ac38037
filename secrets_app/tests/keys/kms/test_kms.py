"""The `kms` command: it tries and shows keys, in words and as JSON, and ends as scripts expect."""

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from django.core.management import CommandError, call_command
from pytest_django import DjangoAssertNumQueries, Settings

from environments_app.models import Environment
from secrets_app.keys.data_keys import active_key
from secrets_app.keys.providers.registry import forget_provider, provider
from secrets_app.models import DataKey

Captured = pytest.CaptureFixture[str]


def run(*arguments: str) -> int:
    """Run the command and return what a shell would see."""
    try:
        call_command("kms", *arguments)
    except SystemExit as end:
        return int(str(end.code))
    except CommandError as error:
        return error.returncode
    return 0


def answers(capsys: Captured, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    code = run(*arguments, "--format", "json")
    told = capsys.readouterr().out
    return code, json.loads(told) if told else []


def replace_key_file(settings: Settings) -> None:
    """Put a foreign key file in the place of this installation's, as a restart finds it."""
    Path(settings.KEEPER_LOCAL_KEY_FILE).write_bytes(b"k" * 32)
    forget_provider()


def refuse(monkeypatch: pytest.MonkeyPatch, method: str, code: str) -> None:
    def refused(**_request: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "said by the service"}}, method)

    monkeypatch.setattr(provider()._client, method, refused)  # type: ignore[attr-defined]


class TestTestConnection:
    @pytest.mark.every_database
    def test_the_local_key_passes(self, development: Environment, capsys: Captured) -> None:
        code, [trial] = answers(capsys, "test-connection")
        assert (code, trial["ok"], trial["used_by"]) == (0, True, ["(system)", "development"])
        assert trial["key_uri"].startswith("local:")

    def test_a_kms_key_passes_with_one_new_data_key_and_two_openings(
        self, kms_key: str, development: Environment, capsys: Captured
    ) -> None:
        DataKey.objects.all().delete()
        before = provider().calls.copy()
        code, [trial] = answers(capsys, "test-connection")
        assert (code, trial["key_uri"]) == (0, kms_key)
        assert provider().calls - before == {"GenerateDataKey": 1, "Decrypt": 2}
        assert not DataKey.objects.exists()

    def test_each_key_is_tried_once(
        self, kms_key: str, development: Environment, kms_client: Any, capsys: Captured
    ) -> None:
        other = kms_client.create_key()["KeyMetadata"]["Arn"]
        Environment.objects.create(name="production", kms_key_alias=other)
        Environment.objects.create(name="staging", kms_key_alias=other)
        code, trials = answers(capsys, "test-connection")
        assert code == 0
        assert {trial["key_uri"]: trial["used_by"] for trial in trials} == {
            kms_key: ["(system)", "development"],
            other: ["production", "staging"],
        }

    @pytest.mark.parametrize(
        ("method", "permission", "step"),
        [("generate_data_key", "kms:GenerateDataKey", "generate"), ("decrypt", "kms:Decrypt", "unwrap")],
    )
    def test_it_names_the_missing_permission(
        self,
        db: None,
        kms_key: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: Captured,
        method: str,
        permission: str,
        step: str,
    ) -> None:
        refuse(monkeypatch, method, "AccessDeniedException")
        code, [trial] = answers(capsys, "test-connection")
        assert (code, trial["permission"], trial["step"]) == (1, permission, step)
        assert run("test-connection") == 1
        assert f"missing permission: {permission}" in capsys.readouterr().out

    def test_it_fails_where_a_context_is_not_enforced(
        self, db: None, monkeypatch: pytest.MonkeyPatch, capsys: Captured
    ) -> None:
        kept: list[bytes] = []
        generate = provider().generate

        def remembering(**asked: Any) -> Any:
            made = generate(**asked)
            kept.append(made.plain)
            return made

        monkeypatch.setattr(provider(), "generate", remembering)
        monkeypatch.setattr(provider(), "unwrap", lambda **_asked: kept[-1])
        code, [trial] = answers(capsys, "test-connection")
        assert (code, trial["step"]) == (1, "refuse another context")

    def test_it_fails_where_another_data_key_comes_back(
        self, db: None, monkeypatch: pytest.MonkeyPatch, capsys: Captured
    ) -> None:
        unwrap = provider().unwrap

        def another(**asked: Any) -> bytes:
            return bytes(reversed(unwrap(**asked)))

        monkeypatch.setattr(provider(), "unwrap", another)
        code, [trial] = answers(capsys, "test-connection")
        assert (code, trial["step"]) == (1, "unwrap")
        assert "another data key came back" in trial["problem"]

    def test_no_data_key_is_printed(
        self, db: None, monkeypatch: pytest.MonkeyPatch, capsys: Captured
    ) -> None:
        plain: list[bytes] = []
        unwrap = provider().unwrap

        def remembering(**asked: Any) -> bytes:
            plain.append(unwrap(**asked))
            return plain[-1]

        monkeypatch.setattr(provider(), "unwrap", remembering)
        run("test-connection", "--format", "json")
        assert plain
        assert plain[0].hex() not in capsys.readouterr().out

    def test_a_key_file_that_did_not_wrap_what_is_stored_fails(
        self, development: Environment, settings: Settings, capsys: Captured
    ) -> None:
        key = active_key(development)
        replace_key_file(settings)
        code, [trial] = answers(capsys, "test-connection")
        assert (code, trial["step"]) == (1, "open what is stored")
        assert DataKey.objects.get(uuid=key.id).key_uri in trial["problem"]
        assert "put the right key file" in trial["problem"]

    def test_an_environment_that_is_not_there_is_wrong_usage(self, db: None) -> None:
        assert run("test-connection", "--environment", "nowhere") == 2


class TestKeyInfo:
    @pytest.mark.every_database
    def test_it_shows_a_local_key_and_its_data_keys(self, development: Environment, capsys: Captured) -> None:
        key = active_key(development)
        code, [system, report] = answers(capsys, "key-info")
        assert (code, system["name"], report["name"]) == (0, "(system)", "development")
        assert report["rotates"] is None
        [row] = report["data_keys"]
        assert (row["uuid"], row["active"], row["age_days"], row["values"]) == (str(key.id), True, 0, 0)

    def test_it_shows_the_target_of_an_alias_and_its_rotation(
        self, kms_key: str, development: Environment, kms_client: Any, settings: Settings, capsys: Captured
    ) -> None:
        alias = f"alias/shown-{kms_key[-12:]}"
        kms_client.create_alias(AliasName=alias, TargetKeyId=kms_key)
        settings.KMS_KEY_ID, settings.KMS_KEY_ALIAS = "", alias
        code, [report] = answers(capsys, "key-info", "--environment", "development")
        shown = [report[name] for name in ("reference", "key_uri", "state", "rotates")]
        assert (code, shown) == (0, [alias, kms_key, "Enabled", False])
        provider().enable_automatic_rotation(kms_key)
        assert answers(capsys, "key-info")[1][1]["rotates"] is True

    def test_it_says_what_is_still_under_an_old_key(
        self, kms_key: str, development: Environment, kms_client: Any, capsys: Captured
    ) -> None:
        key = active_key(development)
        development.kms_key_alias = kms_client.create_key()["KeyMetadata"]["Arn"]
        development.save()
        code, [report] = answers(capsys, "key-info", "--environment", "development")
        assert (code, report["under_old_key"]) == (0, [str(key.id)])
        run("key-info", "--environment", "development")
        assert f"under an old key: {kms_key}" in capsys.readouterr().out

    def test_data_keys_under_a_key_file_that_is_not_here_fail(
        self, development: Environment, settings: Settings, capsys: Captured
    ) -> None:
        key = active_key(development)
        replace_key_file(settings)
        code, [report] = answers(capsys, "key-info", "--environment", "development")
        assert (code, report["under_old_key"]) == (1, [str(key.id)])
        assert DataKey.objects.get(uuid=key.id).key_uri in report["problem"]

    def test_a_disabled_key_fails(
        self, kms_key: str, development: Environment, kms_client: Any, capsys: Captured
    ) -> None:
        kms_client.disable_key(KeyId=kms_key.rpartition("/")[2])
        code, [report] = answers(capsys, "key-info", "--environment", "development")
        assert (code, report["state"]) == (1, "Disabled")
        assert "enable or replace it" in report["problem"]

    def test_a_rotation_that_may_not_be_asked_about_is_a_note(
        self, kms_key: str, development: Environment, monkeypatch: pytest.MonkeyPatch, capsys: Captured
    ) -> None:
        refuse(monkeypatch, "get_key_rotation_status", "AccessDeniedException")
        code, [_, report] = answers(capsys, "key-info")
        assert (code, report["rotates"]) == (0, None)
        assert "kms:GetKeyRotationStatus" in report["note"]

    def test_it_opens_no_data_key(
        self,
        kms_key: str,
        development: Environment,
        capsys: Captured,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        active_key(development)
        before = provider().calls.copy()
        # Data keys of the system, the environments, one's data keys, legacy, and each kind of what else they
        # seal: targets, copies kept by targets, rotation policies, values that wait for approval, webhooks,
        # sources of migrations.
        with django_assert_num_queries(10):
            answers(capsys, "key-info")
        assert provider().calls - before == {"DescribeKey": 1, "GetKeyRotationStatus": 1}


class TestRotate:
    def test_it_prints_what_it_did_and_its_progress_apart(
        self, kms_key: str, kms_client: Any, development: Environment, capsys: Captured
    ) -> None:
        active_key(development)
        development.kms_key_alias = new = kms_client.create_key()["KeyMetadata"]["Arn"]
        development.save()
        assert run("rotate", "--environment", "development", "--format", "json") == 0
        printed = capsys.readouterr()
        (shown,) = json.loads(printed.out)
        assert (shown["key_uri"], shown["data_keys_rewrapped"], shown["ok"]) == (new, 1, True)
        assert "development: 1 of 1 data keys re-wrapped" in printed.err
        assert run("rotate") == 0
        assert "development: " in capsys.readouterr().out

    def test_what_is_left_fails(
        self, kms_key: str, development: Environment, monkeypatch: pytest.MonkeyPatch, capsys: Captured
    ) -> None:
        key = active_key(development)
        development.kms_key_alias = kms_key.replace(kms_key[-12:], "0" * 12)
        development.save()
        refuse(monkeypatch, "re_encrypt", "AccessDeniedException")
        code, [report] = answers(capsys, "rotate", "--environment", "development")
        assert code == 1
        assert str(key.id) in report["problems"][0]
        assert "kms:ReEncryptFrom on the old key and kms:ReEncryptTo on the new one" in report["problems"][0]

    def test_a_key_that_is_not_there_fails(self, kms_key: str, development: Environment) -> None:
        assert run("rotate", "--key-id", "alias/nowhere") == 1

    def test_an_environment_that_is_not_there_is_wrong_usage(self, db: None) -> None:
        assert run("rotate", "--environment", "nowhere") == 2
