"""The audit log in the admin: the timeline, one event in its chain, jobs, sinks, and previews of retention."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from audit_app.checkpoints import schedule as checkpoints
from audit_app.events.actions import Action
from audit_app.models import AuditEvent, Checkpoint, SinkState, StreamCursor
from audit_app.sinks import delivery
from audit_app.sinks.delivery import sink_lags
from environments_app import operator_jobs
from environments_app.errors import Conflict, Forbidden, InvalidField
from environments_app.models import AuditJob, AuditJobKind, JobState, User, UserRole
from environments_app.tests.cast import Cast
from secrets_app.tests.kept import keep

Events = Callable[..., list[AuditEvent]]
_PAGE = "admin-audit"


@pytest.fixture(autouse=True)
def no_counts_of_other_tests() -> None:
    cache.clear()


@pytest.fixture
def root(cast: Cast, signed_in: Callable[..., Client]) -> Client:
    return signed_in(cast.root)


@pytest.fixture
def ada(cast: Cast, signed_in: Callable[..., Client]) -> Client:
    return signed_in(User.objects.create_user("ada", role=UserRole.AUDITOR))


_SECTIONS = {
    "": "timeline",
    "log": "timeline",
    "verification": "verification",
    "evidence": "evidence",
    "sinks": "sinks",
    "retention": "retention",
    "nonsense": "timeline",
}


@pytest.mark.parametrize("tab", _SECTIONS)
def test_the_page_shows_one_tab_and_leads_to_the_others(root: Client, tab: str) -> None:
    page = root.get(reverse(_PAGE), {"tab": tab} if tab else {}).content.decode()
    shown = [section for section in set(_SECTIONS.values()) if f'id="{section}"' in page]
    assert shown == [_SECTIONS[tab]]
    for other in ("log", "verification", "evidence", "sinks", "retention"):
        assert f'href="?tab={other}"' in page


def test_what_auditors_take_away_is_there(ada: Client) -> None:
    page = ada.get(reverse(_PAGE), {"tab": "evidence"}).content.decode()
    for address in re.findall(r'id="evidence".*?</section>', page, re.DOTALL)[0].split('href="')[1:]:
        assert ada.get(address.partition('"')[0]).status_code == 200, address[:60]


def test_the_timeline_counts_and_leads_to_its_events(root: Client, cast: Cast) -> None:
    keep(cast, "app/key")
    page = root.get(reverse(_PAGE))
    for slots, number in (("hours", 24), ("days", 30)):
        found = page.context[slots]
        assert len(found) == number
        listed = root.get(found[-1].url).context["cl"]
        # The page and the list are read after the count, which is recorded.
        assert 0 < found[-1].count <= listed.result_count
        assert found[0].count == 0
    assert root.get(page.context["days"][-2].url).context["cl"].result_count == 0


@pytest.mark.parametrize("text", ["2026-13-01", "0001-01-01", "2026-11-28T25", "yesterday"])
def test_a_period_that_is_none_filters_nothing(root: Client, text: str) -> None:
    address = reverse("admin:audit_app_auditevent_changelist")
    assert root.get(address, {"period": text}).context["cl"].result_count > 0


def test_the_page_of_an_event_shows_whether_its_chain_verifies(root: Client, cast: Cast) -> None:
    keep(cast, "app/key")
    event = AuditEvent.objects.get(action=Action.SECRET_CREATE)
    address = reverse("admin:audit_app_auditevent_change", args=[event.pk])
    page = root.get(address).content.decode()
    assert ('id="chain"' in page, "not valid" in page) == (True, False)
    AuditEvent._base_manager.filter(pk=event.pk).update(object_name="another")
    assert "not valid" in root.get(address).content.decode()


def test_the_statements_of_the_page_do_not_grow_with_the_log(root: Client, cast: Cast) -> None:
    def statements(tab: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            root.get(reverse(_PAGE), {"tab": tab})
        return len(captured)

    tabs = sorted(set(_SECTIONS))
    assert [statements(tab) for tab in tabs]
    few = [statements(tab) for tab in tabs]
    for number in range(20):
        keep(cast, f"app/key-{number}")
    assert [statements(tab) for tab in tabs] <= few


@pytest.mark.parametrize("kind", [AuditJobKind.VERIFY_NEW, AuditJobKind.VERIFY_ALL])
def test_a_verification_is_recorded_and_finds_nothing(
    root: Client, cast: Cast, events: Events, kind: AuditJobKind
) -> None:
    keep(cast, "app/key")
    answer = root.post(reverse(_PAGE), {"kind": kind})
    job = AuditJob.objects.get()
    assert answer["Location"] == reverse("admin-audit-job", args=[job.pk])
    assert root.get(answer["Location"])["Refresh"] == f"3; url={answer['Location']}"
    operator_jobs.run()
    job.refresh_from_db()
    assert (job.state, job.done > 0) == (JobState.DONE, True), job.results
    steps = [event.details for event in events(Action.TRAIL_VERIFY)]
    assert ["requested" in text for text in steps] == [True, False]
    page = root.get(answer["Location"])
    assert ("Refresh" in page, "no problem found" in page.content.decode()) == (False, True)


def test_a_verification_names_what_was_edited(root: Client, cast: Cast) -> None:
    keep(cast, "app/key")
    AuditEvent._base_manager.filter(action=Action.SECRET_CREATE).update(object_name="another")
    operator_jobs.request(actor=cast.principal(cast.root), kind="verify_all")
    operator_jobs.run()
    job = AuditJob.objects.get()
    assert job.state == JobState.PROBLEMS
    assert any(text.startswith("edited: event ") for text in job.results)
    page = root.get(reverse("admin-audit-job", args=[job.pk])).content.decode()
    assert f", after {job.duration} s" in page


def test_progress_is_stored_while_a_verification_runs(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(cast, "app/key")
    seen = []
    monkeypatch.setattr(operator_jobs, "STORE_SECONDS", 0.0)
    monkeypatch.setattr(operator_jobs, "_store", lambda job, _lease: seen.append((job.done, job.total)))
    operator_jobs.request(actor=cast.principal(cast.root), kind="verify_all")
    operator_jobs.run()
    assert len({done for done, _ in seen}) > 1
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize("meanwhile", ["taken", "ended"])
@pytest.mark.parametrize("lost", ["at once", "at the end", "refused"])
def test_a_worker_that_lost_its_job_writes_on_it_no_more(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, meanwhile: str, lost: str
) -> None:
    """Its lease ended while it was stuck: another worker has the job, or has ended it."""
    job = operator_jobs.request(actor=cast.principal(cast.root), kind="verify_all")
    changes = {
        "taken": {"attempts": 2, "step": "by another worker"},
        "ended": {"finished_at": timezone.now(), "state": JobState.DONE, "results": ["by another worker"]},
    }
    stored = AuditJob.objects.filter(pk=job.pk)
    went_on = False

    def steps(*_: object) -> Iterator[tuple[bool, str]]:
        nonlocal went_on
        stored.update(**changes[meanwhile])
        if lost == "refused":
            raise Conflict("refused")
        if lost == "at once":
            yield False, "found late"
            went_on = True

    monkeypatch.setattr(operator_jobs, "_steps", steps)
    operator_jobs.run()
    row = stored.get()
    assert {name: getattr(row, name) for name in changes[meanwhile]} == changes[meanwhile]
    assert (row.active, went_on) == (meanwhile == "taken", False)


def test_what_waited_for_more_than_a_day_is_not_begun_and_what_ended_stays_as_it_is(cast: Cast) -> None:
    now = timezone.now()
    waited, ended = now - timedelta(days=1, minutes=1), now - timedelta(days=9)
    for kind in (AuditJobKind.VERIFY_NEW, AuditJobKind.VERIFY_ALL):
        operator_jobs.request(actor=cast.principal(cast.root), kind=kind)
        operator_jobs.run()
    AuditJob.objects.update(requested_at=ended, finished_at=ended)
    before = list(AuditJob.objects.order_by("pk").values())
    stale = operator_jobs.request(actor=cast.principal(cast.root), kind="verify_new")
    AuditJob.objects.filter(pk=stale.pk).update(requested_at=waited)
    operator_jobs.run()
    stale.refresh_from_db()
    assert (stale.state, stale.step, stale.attempts) == (JobState.FAILED, "not started within a day", 0)
    assert stale.finished_at is not None
    young = operator_jobs.request(actor=cast.principal(cast.root), kind="verify_new")
    AuditJob.objects.filter(pk=young.pk).update(requested_at=now - timedelta(hours=23))
    operator_jobs.run()
    young.refresh_from_db()
    assert young.state == JobState.DONE
    assert list(AuditJob.objects.filter(requested_at=ended).order_by("pk").values()) == before


def test_one_job_at_a_time(root: Client, cast: Cast) -> None:
    operator_jobs.request(actor=cast.principal(cast.root), kind="verify_new")
    with pytest.raises(Conflict):
        operator_jobs.request(actor=cast.principal(cast.root), kind="verify_new")
    page = root.post(reverse(_PAGE), {"kind": "verify_all"}).content.decode()
    assert "Wait for it to finish" in page
    assert AuditJob.objects.count() == 1


def test_a_preview_is_refused_within_the_days_that_stay(root: Client, cast: Cast) -> None:
    for days in (0, 89, operator_jobs.MOST_DAYS + 1):
        with pytest.raises(InvalidField):
            operator_jobs.request(actor=cast.principal(cast.root), kind="preview", days=days)
    assert root.post(reverse(_PAGE), {"kind": "preview", "days": "89"}).status_code == 200
    assert root.post(reverse(_PAGE), {"kind": "else"}).status_code == 200
    assert not AuditJob.objects.exists()


def test_a_preview_of_a_young_log_removes_nothing(root: Client, cast: Cast) -> None:
    assert root.post(reverse(_PAGE), {"kind": "preview", "days": "400"}).status_code == 302
    before = AuditEvent.objects.count()
    operator_jobs.run()
    job = AuditJob.objects.get()
    assert (job.days, job.state) == (400, JobState.DONE), job.results
    assert job.results[0].startswith("Nothing would be removed")
    assert AuditEvent.objects.count() == before


def test_what_a_sink_lacks_is_counted(cast: Cast, settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path / 'checkpoints'}"]
    settings.KEEPER_EVENT_SINKS = [f"file:{tmp_path / 'events'}"]
    assert {each.state for each in sink_lags()} == {None}
    keep(cast, "app/key")
    delivery.deliver_events(at_once=True)
    checkpoints.sign_log()
    delivery.deliver_checkpoints(at_once=True)
    of_checkpoints, of_events = sink_lags()
    assert (of_checkpoints.behind, of_checkpoints.since, of_events.behind) == (0, None, 0)
    SinkState.objects.update(position=0)
    StreamCursor.objects.all().delete()
    of_checkpoints, of_events = sink_lags()
    assert (of_checkpoints.behind, of_events.behind) == (1, AuditEvent.objects.count())
    assert of_checkpoints.since == Checkpoint.objects.get().at


def test_an_auditor_verifies_and_previews(ada: Client, cast: Cast) -> None:
    assert ada.get(reverse(_PAGE)).status_code == 200
    assert ada.post(reverse(_PAGE), {"kind": "verify_new"}).status_code == 302
    operator_jobs.run()
    assert AuditJob.objects.get().state == JobState.DONE


def test_who_is_disabled_meanwhile_has_the_job_refused(cast: Cast) -> None:
    for kind, days in (("verify_new", 0), ("preview", 400)):
        operator_jobs.request(actor=cast.principal(cast.root), kind=kind, days=days)
        User.objects.filter(pk=cast.root.pk).update(is_active=False)
        operator_jobs.run()
        assert AuditJob.objects.first().state == JobState.FAILED  # type: ignore[union-attr]  # there is one
        User.objects.filter(pk=cast.root.pk).update(is_active=True)


def test_others_do_not_get_in(cast: Cast, signed_in: Callable[..., Client]) -> None:
    alice = signed_in(cast.alice)
    for address in (reverse(_PAGE), reverse("admin-audit-job", args=[1])):
        assert alice.get(address)["Location"].startswith("/admin/login/")
    with pytest.raises(Forbidden):
        operator_jobs.request(actor=cast.principal(cast.alice), kind="verify_new")
    assert django_settings.CELERY_BEAT_SCHEDULE["run-audit-jobs"]["task"] == operator_jobs.RUN
