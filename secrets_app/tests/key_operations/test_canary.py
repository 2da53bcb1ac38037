"""The canary: it finds what does not open before a reader does, keeps it, records it, and tells once."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery.signals import worker_ready
from django.conf import settings as configured
from django.core import mail
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action, Outcome
from audit_app.interfaces import Purpose, keyring
from audit_app.models import AuditEvent
from environments_app.models import Environment
from environments_app.notifications.service import deliver_due
from environments_app.tests.cast import Cast, make_cast
from secrets_app import tasks
from secrets_app.errors import NetworkInTransaction
from secrets_app.key_operations import key_check
from secrets_app.key_operations.key_check import check_failing_keys, check_keys, failing_data_keys, watch_keys
from secrets_app.keys import data_keys
from secrets_app.keys.data_keys import active_key
from secrets_app.keys.providers.aws_kms import requests as aws_kms_requests
from secrets_app.keys.providers.registry import forget_provider
from secrets_app.models import DataKey, WrappingKey
from secrets_app.tests.kept import keep
from secrets_app.tests.keys.skipping import Skipping
from tests.aws_strict.faults import Fault, Plan

Sql = Callable[..., None]
Log = pytest.LogCaptureFixture


def told(caplog: Log) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


def told_events() -> list[tuple[str, str]]:
    rows = AuditEvent.objects.filter(action=Action.DATA_KEY_OPEN).order_by("id")
    return [(row.outcome, row.object_name) for row in rows]


def key_id(arn: str) -> str:
    return arn.rpartition("/")[2]


class TestWhatItFinds:
    @pytest.mark.every_database
    def test_keys_that_open_leave_a_time_and_nothing_else(
        self, development: Environment, caplog: Log
    ) -> None:
        active_key(development)
        check_keys()
        assert DataKey.objects.count() == len(Purpose) + 1
        assert not DataKey.objects.filter(checked_at=None).exists()
        assert not failing_data_keys().exists()
        assert (told(caplog), told_events()) == ([], [])

    @pytest.mark.every_database
    def test_operators_get_a_message_and_another_when_it_is_over(
        self, development: Environment, sql: Sql, settings: Settings
    ) -> None:
        settings.EMAIL_HOST, settings.KEEPER_ALERT_EMAILS = "mail.example", ["ops@example.com"]
        row = DataKey.objects.get(uuid=active_key(development).id)
        sql("UPDATE secrets_app_datakey SET key_uri = 'local:elsewhere' WHERE id = %s", row.pk)
        check_keys()
        check_keys()
        deliver_due()
        sql("UPDATE secrets_app_datakey SET key_uri = %s WHERE id = %s", row.key_uri, row.pk)
        check_keys()
        check_keys()
        deliver_due()
        subjects = [message.subject for message in mail.outbox]
        assert subjects == [
            "[Keeper] 1 data keys do not open any more",
            "[Keeper] every data key opens again",
        ]
        assert "development" in str(mail.outbox[0].body)

    @pytest.mark.every_database
    def test_an_edited_row_is_kept_recorded_and_told_once(
        self, development: Environment, sql: Sql, caplog: Log
    ) -> None:
        row = DataKey.objects.get(uuid=active_key(development).id)
        sql("UPDATE secrets_app_datakey SET wrapped_key = %s WHERE id = %s", b"x" * 61, row.pk)
        for _ in range(3):
            check_keys()
        [found] = failing_data_keys()
        assert found.pk == row.pk
        assert "local provider" in found.check_problem
        assert told_events() == [(Outcome.FAILED, "development")]
        [line] = told(caplog)
        assert f"development {row.uuid}" in line
        assert AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION, object_uuid=row.uuid).exists()
        sql("UPDATE secrets_app_datakey SET wrapped_key = %s WHERE id = %s", bytes(row.wrapped_key), row.pk)
        check_keys()
        assert not failing_data_keys().exists()
        assert told_events() == [(Outcome.FAILED, "development"), (Outcome.ALLOWED, "development")]

    @pytest.mark.every_database
    def test_an_edited_row_is_reported_by_each_check_of_all_and_not_each_minute(
        self, development: Environment, sql: Sql, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = DataKey.objects.get(uuid=active_key(development).id)
        reported: list[object] = []
        monkeypatch.setattr(
            key_check, "record_integrity_violation", lambda **told: reported.append(told["uuid"])
        )
        # Whoever edits it may write beside it that this is known.
        sql(
            "UPDATE secrets_app_datakey SET wrapped_key = %s, check_problem = 'known' WHERE id = %s",
            b"x" * 61,
            row.pk,
        )
        check_failing_keys()
        assert reported == []
        check_keys()
        assert reported == [row.uuid]

    def test_what_another_process_found_better_meanwhile_stays(self, development: Environment) -> None:
        row = DataKey.objects.get(uuid=active_key(development).id)
        DataKey.objects.filter(pk=row.pk).update(check_problem="KMS gave no answer")
        stale = DataKey.objects.get(pk=row.pk)
        check_failing_keys()
        assert not key_check._store_finding(stale, "KMS gave no answer")
        assert not failing_data_keys().exists()

    @pytest.mark.parametrize(
        ("before", "found", "outcome"),
        [("", "KMS refused", Outcome.FAILED), ("KMS refused", "", Outcome.ALLOWED)],
        ids=["fails", "opens"],
    )
    def test_of_two_processes_with_the_same_finding_one_records_it(
        self, development: Environment, before: str, found: str, outcome: Outcome
    ) -> None:
        row = DataKey.objects.get(uuid=active_key(development).id)
        DataKey.objects.filter(pk=row.pk).update(check_problem=before)
        first, second = DataKey.objects.get(pk=row.pk), DataKey.objects.get(pk=row.pk)
        assert key_check._store_finding(first, found)
        assert not key_check._store_finding(second, found)
        assert [outcome for outcome, _ in told_events()] == [outcome]

    def test_of_two_workers_that_saw_one_request_one_checks(
        self, development: Environment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = DataKey.objects.get(uuid=active_key(development).id)
        checked: list[Any] = []
        monkeypatch.setattr(key_check, "check_data_keys", checked.append)
        DataKey.objects.filter(pk=row.pk).update(check_requested_at=timezone.now())

        def slowly(rows: Any) -> list[Any]:
            # The other worker comes once this one has listed what is requested.
            found = [*rows]
            monkeypatch.delattr(key_check, "list")
            key_check.check_requested_keys()
            return found

        monkeypatch.setattr(key_check, "list", slowly, raising=False)
        key_check.check_requested_keys()
        assert [[each.pk for each in rows] for rows in checked] == [[row.pk]]

    def test_a_system_key_that_would_not_open_after_a_restart(
        self, development: Environment, sql: Sql, caplog: Log
    ) -> None:
        keyring().open_all()
        sql("UPDATE secrets_app_datakey SET context = %s WHERE purpose = 'row-mac'", '{"more": "pairs"}')
        check_keys()
        assert [row.purpose for row in failing_data_keys()] == ["row-mac"]
        assert told_events() == [(Outcome.FAILED, "row-mac")]

    def test_a_key_file_that_is_gone_while_it_is_in_memory(
        self, development: Environment, settings: Settings
    ) -> None:
        active_key(development)
        file = Path(settings.KEEPER_LOCAL_KEY_FILE)
        content = file.read_bytes()
        file.unlink()
        check_keys()
        assert failing_data_keys().count() == len(Purpose) + 1
        file.write_bytes(b"n" * 32)
        check_keys()
        assert "was replaced" in failing_data_keys()[0].check_problem
        file.write_bytes(content)
        check_keys()
        assert not failing_data_keys().exists()

    def test_no_data_key_is_kept_and_no_value_opened(self, development: Environment) -> None:
        keeper_cache = data_keys.cache()
        key = active_key(development)
        keeper_cache.evict(key.id)
        check_keys()
        assert not keeper_cache.has(key.id)

    def test_it_does_not_wait_inside_a_transaction(self, kms_key: str, development: Environment) -> None:
        with transaction.atomic(), pytest.raises(NetworkInTransaction):
            check_keys()


class TestUnderKms:
    @pytest.fixture(autouse=True)
    def waits_take_no_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(aws_kms_requests, "time", Skipping())

    def test_a_key_that_was_just_disabled_is_found_by_its_state(
        self, strict_kms: Plan, kms_key: str, kms_client: Any, development: Environment
    ) -> None:
        active_key(development)
        check_keys()
        strict_kms.calls.clear()
        watch_keys()
        assert strict_kms.calls["Decrypt"] == 0
        assert not failing_data_keys().exists()
        kms_client.disable_key(KeyId=key_id(kms_key))
        watch_keys()
        assert "is disabled" in str(failing_data_keys().get(environment=development).check_problem)
        calls = strict_kms.calls["Decrypt"]
        watch_keys()
        assert strict_kms.calls["Decrypt"] == calls

    def test_a_disabled_key_is_told_once_and_opens_again(
        self, strict_kms: Plan, kms_key: str, kms_client: Any, development: Environment, caplog: Log
    ) -> None:
        active_key(development)
        kms_client.disable_key(KeyId=key_id(kms_key))
        for _ in range(2):
            check_keys()
        assert failing_data_keys().count() == len(Purpose) + 1
        [line] = told(caplog)
        assert f"{len(Purpose) + 1} data keys under {kms_key} do not open" in line
        assert "enable it again" in line
        assert WrappingKey.objects.get(scope=development.uuid).state == "Disabled"
        kms_client.enable_key(KeyId=key_id(kms_key))
        check_keys()
        assert not failing_data_keys().exists()
        assert WrappingKey.objects.get(scope=development.uuid).problem == ""

    def test_it_asks_once_for_a_data_key(self, strict_kms: Plan, development: Environment) -> None:
        active_key(development)
        strict_kms.calls.clear()
        check_keys()
        assert strict_kms.calls == {
            "Decrypt": len(Purpose) + 1,
            "DescribeKey": 1,
            "GetKeyRotationStatus": 1,
        }

    def test_the_data_keys_of_a_key_that_does_not_answer_share_what_was_found(
        self, strict_kms: Plan, development: Environment, settings: Settings
    ) -> None:
        active_key(development)
        strict_kms.fail("Decrypt", Fault.DROPPED_REPLY, times=100)
        strict_kms.calls.clear()
        check_keys()
        assert failing_data_keys().count() == len(Purpose) + 1
        found = set(failing_data_keys().values_list("check_problem", flat=True))
        assert len(found) == 1
        # Which of the two it says depends on whether the time or the attempts ended first.
        assert found.pop().startswith(("KMS cannot be reached", "KMS gave no answer"))

    def test_one_lost_reply_is_no_alarm(
        self, strict_kms: Plan, development: Environment, caplog: Log
    ) -> None:
        active_key(development)
        strict_kms.fail("Decrypt", Fault.DROPPED_REPLY)
        check_keys()
        assert not failing_data_keys().exists()
        assert told(caplog) == []

    def test_after_an_outage_all_of_them_open_again_a_minute_later(
        self, strict_kms: Plan, development: Environment
    ) -> None:
        active_key(development)
        for operation in ("Decrypt", "DescribeKey", "GetKeyRotationStatus"):
            strict_kms.keep_failing(operation, Fault.DROPPED_REPLY)
        check_keys()
        check_failing_keys()
        assert failing_data_keys().count() == len(Purpose) + 1
        assert WrappingKey.objects.exclude(problem="").exists()
        strict_kms.recover()
        strict_kms.calls.clear()
        # Another process, since this one leaves KMS alone for a while.
        forget_provider()
        check_failing_keys()
        assert not failing_data_keys().exists()
        assert not WrappingKey.objects.exclude(problem="").exists()
        assert strict_kms.calls == {
            "Decrypt": len(Purpose) + 1,
            "DescribeKey": 1,
            "GetKeyRotationStatus": 1,
        }
        assert told_events()[len(Purpose) + 1 :] == [
            (Outcome.ALLOWED, name) for _, name in told_events()[: len(Purpose) + 1]
        ]

    def test_a_key_with_a_problem_is_looked_at_again_where_every_data_key_opens(
        self, strict_kms: Plan, development: Environment
    ) -> None:
        active_key(development)
        check_keys()
        WrappingKey.objects.update(problem="KMS gave no answer")
        strict_kms.calls.clear()
        check_failing_keys()
        assert not WrappingKey.objects.exclude(problem="").exists()
        assert strict_kms.calls == {"DescribeKey": 1, "GetKeyRotationStatus": 1}

    def test_where_all_open_nothing_is_asked(self, strict_kms: Plan, development: Environment) -> None:
        active_key(development)
        check_keys()
        strict_kms.calls.clear()
        check_failing_keys()
        assert not strict_kms.calls

    def test_throttling_says_nothing_of_a_key(
        self, strict_kms: Plan, development: Environment, caplog: Log
    ) -> None:
        active_key(development)
        strict_kms.fail("Decrypt", Fault.THROTTLE, times=100)
        check_keys()
        assert not failing_data_keys().exists()
        assert DataKey.objects.filter(checked_at=None).exists()
        assert told(caplog) == []

    def test_it_stores_what_an_alias_leads_to(
        self, strict_kms: Plan, kms_key: str, kms_client: Any, db: None
    ) -> None:
        alias = f"alias/canary-{kms_key[-12:]}"
        kms_client.create_alias(AliasName=alias, TargetKeyId=kms_key)
        place = Environment.objects.create(name="named", kms_key_alias=alias)
        check_keys()
        stored = WrappingKey.objects.get(scope=place.uuid)
        assert (stored.reference, stored.key_uri, stored.state, stored.rotates) == (
            alias,
            kms_key,
            "Enabled",
            False,
        )


class TestWhichKeys:
    @pytest.fixture
    def cast(self, db: None) -> Cast:
        return make_cast()

    def test_an_older_one_counts_while_it_seals_something(self, cast: Cast) -> None:
        keep(cast)
        old = DataKey.objects.get(environment=cast.development)
        data_keys.replace_key(cast.development)
        assert key_check.data_keys_in_use().filter(pk=old.pk).exists()
        cast.development.secrets.get().versions.all().delete()
        assert not key_check.data_keys_in_use().filter(pk=old.pk).exists()

    def test_of_the_older_ones_it_takes_those_that_waited_longest(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(key_check, "OLDER_PER_RUN", 1)
        olds = []
        for number in range(3):
            keep(cast, f"n/{number}")
            olds.append(DataKey.objects.get(environment=cast.development, active=True).pk)
            data_keys.replace_key(cast.development)
        for expected in range(1, 4):
            check_keys()
            assert DataKey.objects.filter(pk__in=olds).exclude(checked_at=None).count() == expected

    def test_a_run_ends_in_time_and_the_next_goes_on(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keyring().open_all()
        monkeypatch.setattr(key_check, "RUN_SECONDS", -1.0)
        for expected in range(1, len(Purpose) + 1):
            check_keys()
            assert DataKey.objects.exclude(checked_at=None).count() == expected


class TestWhenItRuns:
    def test_a_scheduled_check_is_overtaken_by_the_next(self) -> None:
        entry: Any = configured.CELERY_BEAT_SCHEDULE["check-keys"]
        assert entry["task"] == tasks.check_keys.name
        assert entry["options"]["expires"] < entry["schedule"]

    def test_what_does_not_open_is_looked_at_again_each_minute(self) -> None:
        entry: Any = configured.CELERY_BEAT_SCHEDULE["check-failing-keys"]
        assert entry["task"] == tasks.check_failing_keys.name
        assert entry["options"]["expires"] < entry["schedule"] == 60

    def test_a_worker_that_starts_has_them_checked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []
        monkeypatch.setattr(tasks.check_keys, "delay", lambda: asked.append("now"))
        worker_ready.send(sender=None)
        assert asked == ["now"]

    def test_the_tasks_check(self, development: Environment) -> None:
        key = active_key(development)
        DataKey.objects.filter(uuid=key.id).update(check_requested_at=timezone.now())
        tasks.check_requested_keys()
        assert not DataKey.objects.exclude(check_requested_at=None).exists()
        assert list(DataKey.objects.exclude(checked_at=None).values_list("uuid", flat=True)) == [key.id]
        tasks.check_keys()
        assert not DataKey.objects.filter(checked_at=None).exists()
        DataKey.objects.filter(uuid=key.id).update(check_problem="it did not open")
        tasks.check_failing_keys()
        assert not failing_data_keys().exists()
