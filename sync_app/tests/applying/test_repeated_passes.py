"""What Keeper's own passes over a target record: each that does or finds something, and once an hour the rest."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from audit_app.models import AuditEvent
from audit_app.recording.drafts import MAKER, Receipt
from core.canonical_json import parsed_details
from environments_app.tests.cast import Cast
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.errors import TargetConflict
from sync_app.jobs.queue import enqueue
from sync_app.models.run import RunKind, Trigger
from sync_app.planning import service as planning
from sync_app.runs import runner
from sync_app.targets import credentials
from sync_app.targets import service as targets
from sync_app.targets.credentials import target_principal
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database_weekly


def scheduled(stage: Stage, kind: RunKind = RunKind.SYNC) -> list[str]:
    """Let the schedule start a pass; return the acts on the target that it recorded."""
    last = AuditEvent.objects.order_by("-id").values_list("id", flat=True)[0]
    target = stage.fresh()
    run = enqueue(actor=target_principal(target), target=target, kind=kind, trigger=Trigger.SCHEDULE)
    runner.execute(run.pk)
    events = AuditEvent.objects.filter(object_uuid=target.uuid, id__gt=last).order_by("id")
    return [f"{event.action} {event.outcome}" for event in events]


OPENED, PLANNED = "target.connect allowed", "target.plan allowed"


def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was recorded be older than an hour."""
    monkeypatch.setattr(credentials, "REPEATED", timedelta())
    monkeypatch.setattr(planning, "REPEATED", timedelta())


@pytest.fixture
def quiet(cast: Cast, vault: VaultWorld) -> Stage:
    """A target whose last pass had nothing to do."""
    stage = Stage(cast, vault)
    stage.keep("app/one", "first")
    scheduled(stage)
    assert scheduled(stage) == [OPENED, PLANNED]
    return stage


def test_passes_that_find_the_same_again_record_nothing(quiet: Stage) -> None:
    assert [scheduled(quiet) for _ in range(5)] == [[]] * 5


def test_after_an_hour_one_is_recorded_with_the_number_of_passes(
    quiet: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        scheduled(quiet)
    with monkeypatch.context() as hour:
        later(hour)
        assert scheduled(quiet) == [OPENED, PLANNED]
    last = AuditEvent.objects.filter(action="target.plan").order_by("-id")[0]
    details = parsed_details(last.details)
    assert (details["empty"], details["passes"], details["counts"]) == (True, 4, {"unchanged": 1})
    assert scheduled(quiet) == []


def test_a_pass_that_delivers_is_recorded_and_the_first_empty_one_after_it(quiet: Stage) -> None:
    scheduled(quiet)
    quiet.keep("app/two", "second")
    acts = scheduled(quiet)
    assert PLANNED in acts
    assert "target.apply allowed" in acts
    assert quiet.theirs("app/two") == "second"
    assert scheduled(quiet) == [OPENED, PLANNED]
    assert scheduled(quiet) == []


def test_an_empty_pass_that_finds_something_else_is_recorded(quiet: Stage) -> None:
    quiet.edit("app/one", "edited there")
    quiet.keep("app/one", "edited here")
    quiet.world_rest()
    acts = scheduled(quiet)
    assert PLANNED in acts


def test_each_failed_pass_is_recorded(quiet: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise TargetConflict("it does not answer")

    with monkeypatch.context() as failing:
        failing.setattr(planning, "discover", fails)
        assert "target.apply failed" in scheduled(quiet)
        assert scheduled(quiet)[:2] == [OPENED, "target.apply failed"]
    assert scheduled(quiet)[:2] == [OPENED, PLANNED]


def test_a_change_of_the_target_opens_its_credentials_anew(quiet: Stage) -> None:
    targets.change(actor=quiet.alice, target=quiet.fresh(), interval_seconds=600)
    assert scheduled(quiet) == [OPENED, PLANNED]


def test_an_opening_whose_event_is_gone_is_recorded_again(quiet: Stage) -> None:
    """The database may be an earlier state of itself: a receipt in memory proves nothing there."""
    receipt, envelope, opened_at = credentials._OPENED[quiet.target.uuid]
    covers = frozenset({quiet.target.uuid.bytes})
    gone = Receipt(MAKER, uuid4().hex, receipt.stream, receipt.sequence, covers, committed=True)
    credentials._OPENED[quiet.target.uuid] = gone, envelope, opened_at
    assert scheduled(quiet) == [OPENED]


def test_a_check_opens_the_credentials_once_an_hour(quiet: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scheduled(quiet, RunKind.CHECK) == []
    with monkeypatch.context() as hour:
        later(hour)
        assert scheduled(quiet, RunKind.CHECK) == [OPENED]


def test_what_a_person_starts_is_recorded_each_time(quiet: Stage) -> None:
    before = AuditEvent.objects.filter(object_uuid=quiet.target.uuid).count()
    for _ in range(2):
        quiet.sync()
    assert AuditEvent.objects.filter(object_uuid=quiet.target.uuid).count() == before + 2 * len(
        ["run requested", OPENED, PLANNED]
    )
