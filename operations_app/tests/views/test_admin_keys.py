"""The page of keys: what it shows, who starts a job, and how a job goes on without its page."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from django.test import Client
from django.urls import reverse

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app import operator_jobs
from environments_app.errors import ConfirmationNeeded, Conflict, Forbidden, InvalidField
from environments_app.models import JobState, User, UserRole
from environments_app.tests.cast import Cast
from secrets_app.key_operations import jobs, key_check
from secrets_app.models import DataKey, KeyJob, KeyJobKind, SecretVersion
from secrets_app.tests.kept import VALUE, keep

Events = Callable[..., list[AuditEvent]]


@pytest.fixture
def root(cast: Cast, signed_in: Callable[..., Client]) -> Client:
    return signed_in(cast.root)


def test_the_page_shows_what_workers_found(root: Client, cast: Cast) -> None:
    keep(cast, "app/key")
    key_check.check_keys()
    page = root.get(reverse("admin-keys")).content.decode()
    active = DataKey.objects.get(environment=cast.development, active=True)
    assert ("development" in page, str(active.uuid) in page, VALUE in page) == (True, True, False)


@pytest.mark.parametrize("kind", [KeyJobKind.TEST, KeyJobKind.REWRAP, KeyJobKind.REENCRYPT])
def test_a_job_is_confirmed_requested_and_carried_out_by_a_worker(
    root: Client, cast: Cast, events: Events, kind: KeyJobKind
) -> None:
    secret = keep(cast, "app/key")
    before = SecretVersion.objects.get(secret=secret).data_key_id
    form = {"kind": kind, "environment": "development"}
    assert kind.label in root.get(reverse("admin-key-job-new"), form).content.decode()
    assert not KeyJob.objects.exists()

    answer = root.post(reverse("admin-key-job-new"), form)

    job = KeyJob.objects.get()
    assert (answer["Location"], job.state) == (reverse("admin-key-job", args=[job.pk]), JobState.QUEUED)
    # With its address: of one with a fragment a browser would load nothing again.
    assert root.get(answer["Location"])["Refresh"] == f"3; url={answer['Location']}"
    assert [event.actor_name for event in events(jobs.ACTIONS[kind]) if "requested" in event.details] == [
        "root"
    ]
    jobs.run()
    page = root.get(answer["Location"])
    assert ("Refresh" in page, "development" in page.content.decode()) == (False, True)
    assert KeyJob.objects.get().state == JobState.DONE
    resealed = SecretVersion.objects.get(secret=secret).data_key_id != before
    assert resealed == (kind == KeyJobKind.REENCRYPT)


def test_progress_is_stored_while_a_job_runs(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(cast, "app/key")
    monkeypatch.setattr(operator_jobs, "STORE_SECONDS", 0.0)
    jobs.request(actor=cast.principal(cast.root), kind="reencrypt", environment="development")
    jobs.run()
    job = KeyJob.objects.get()
    assert (job.done, job.total, job.active) == (1, 1, False)


def test_a_migration_is_refused_where_the_settings_do_not_allow_it(cast: Cast) -> None:
    jobs.request(actor=cast.principal(cast.root), kind="plan")
    jobs.run()
    job = KeyJob.objects.get()
    assert job.state == JobState.FAILED
    assert "KEY_MIGRATION" in job.step


def test_one_job_at_a_time(root: Client, cast: Cast) -> None:
    jobs.request(actor=cast.principal(cast.root), kind="test")
    with pytest.raises(Conflict):
        jobs.request(actor=cast.principal(cast.root), kind="test")
    page = root.post(reverse("admin-key-job-new"), {"kind": "test"}).content.decode()
    assert "Wait for it to finish" in page
    assert KeyJob.objects.count() == 1


def test_a_rollback_takes_only_a_backup_of_this_machine(cast: Cast) -> None:
    for name in ("", "../keeper.key", "key-backup-none.json"):
        with pytest.raises(InvalidField):
            jobs.request(actor=cast.principal(cast.root), kind="roll_back", backup=name)


def test_a_job_whose_worker_died_is_carried_out_again_a_few_times(cast: Cast) -> None:
    jobs.request(actor=cast.principal(cast.root), kind="test")
    KeyJob.objects.update(attempts=3)
    jobs.run()
    assert KeyJob.objects.get().state == JobState.FAILED


def test_who_administers_no_more_has_the_job_refused(cast: Cast) -> None:
    jobs.request(actor=cast.principal(cast.root), kind="rewrap")
    User.objects.filter(pk=cast.root.pk).update(is_active=False)
    jobs.run()
    assert KeyJob.objects.get().state == JobState.FAILED


def test_only_administrators_with_a_fresh_proof_request_one(cast: Cast) -> None:
    with pytest.raises(Forbidden):
        jobs.request(actor=cast.principal(cast.alice), kind="test")

    with pytest.raises(ConfirmationNeeded):
        jobs.request(actor=replace(cast.principal(cast.root), confirmed=False), kind="test")
    assert not KeyJob.objects.exists()


def test_an_auditor_looks_and_starts_nothing(
    cast: Cast, signed_in: Callable[..., Client], events: Events
) -> None:
    ada = signed_in(User.objects.create_user("ada", role=UserRole.AUDITOR))
    assert reverse("admin-key-job-new") not in ada.get(reverse("admin-keys")).content.decode()
    assert ada.post(reverse("admin-key-job-new"), {"kind": "test"}).status_code == 403
    assert {event.outcome for event in events(Action.DATA_KEY_ROTATE)} == {"denied"}
    assert not KeyJob.objects.exists()


@pytest.mark.parametrize("name", ["admin-keys", "admin-key-job-new"])
def test_others_do_not_get_in(cast: Cast, signed_in: Callable[..., Client], name: str) -> None:
    assert signed_in(cast.alice).get(reverse(name))["Location"].startswith("/admin/login/")
