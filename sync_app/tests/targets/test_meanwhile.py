"""A target that changes while a system is asked, or while its pass is begun: what was found counts no more."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest

from environments_app.errors import ApprovalVoid, Conflict, Tampered
from environments_app.models import Environment
from environments_app.tests.cast import Cast
from sync_app.errors import DestinationTaken, TargetConflict, TargetInUse
from sync_app.jobs.leases import database_now
from sync_app.models import Run, Target
from sync_app.runs import schedule
from sync_app.targets import connection_check
from sync_app.targets import service as targets
from sync_app.targets.destinations import Identity
from sync_app.tests.shown import make_run, make_target

pytestmark = pytest.mark.django_db
REBUILT = "vault/11111111-2222-3333-4444-555555555555"
Meanwhile = Callable[[Cast, Target], object]


def confirmed(_: Cast, target: Target) -> None:
    stored = Target.objects.get(pk=target.pk)
    stored.system = "vault/99999999-2222-3333-4444-555555555555"
    stored.save()


def removed(cast: Cast, target: Target) -> None:
    targets.remove(actor=cast.principal(cast.alice), target=target)


def renamed(cast: Cast, target: Target) -> None:
    targets.change(actor=cast.principal(cast.alice), target=target, name="renamed")


def edited(_: Cast, target: Target) -> None:
    Target.objects.filter(pk=target.pk).update(place="elsewhere")


def taken(cast: Cast, _: Target) -> None:
    make_target(cast.production, name="another", system=REBUILT, place="vault")


CONFIRMING: dict[str, tuple[Meanwhile, type[Exception] | None]] = {
    "nothing": (lambda *_: None, None),
    "renamed": (renamed, None),
    "another system was confirmed": (confirmed, TargetConflict),
    "a sync began": (lambda _, target: make_run(target), TargetInUse),
    "it was removed": (removed, TargetConflict),
    "it was edited": (edited, Tampered),
    "another target took the place": (taken, DestinationTaken),
}


@pytest.mark.parametrize("meanwhile", CONFIRMING)
def test_a_rebuilt_system_is_not_confirmed_after_what_changed_while_it_was_asked(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    target = make_target(cast.development)
    act, refusal = CONFIRMING[meanwhile]

    def identify(**_: Any) -> Identity:
        act(cast, target)
        return Identity(system=REBUILT, place=str(target.place))

    monkeypatch.setattr(connection_check, "identify_answering_system", identify)
    confirm = connection_check.confirm_system
    with nullcontext() if refusal is None else pytest.raises(refusal):
        confirm(actor=cast.principal(cast.alice), target=target, system=REBUILT)
    assert (Target.objects.get(pk=target.pk).system == REBUILT) is (refusal is None)


def moved(_: Cast, target: Target) -> None:
    stored = Target.objects.get(pk=target.pk)
    stored.destination = {**stored.destination, "mount": "another"}
    stored.save()


def protected(cast: Cast, target: Target) -> None:
    cast.development.protected = True
    cast.development.save()
    stored = Target.objects.get(pk=target.pk)
    stored.automatic = True
    stored.save()


RECONNECTING: dict[str, tuple[Meanwhile, type[Exception] | None]] = {
    "nothing": (lambda *_: None, None),
    "renamed": (renamed, None),
    "another system was confirmed": (confirmed, TargetConflict),
    "it was moved": (moved, TargetConflict),
    "it was removed": (removed, TargetConflict),
    "it was edited": (edited, Tampered),
    "it writes by itself in a protected environment": (protected, Conflict),
}


@pytest.mark.parametrize("meanwhile", RECONNECTING)
def test_an_address_is_not_stored_after_what_changed_while_it_was_tried(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    target = make_target(cast.development)
    act, refusal = RECONNECTING[meanwhile]
    address = "https://new.example"

    def identify(draft: Target, destination: dict[str, str], _: object) -> Identity:
        draft.endpoint, draft.destination = address, destination
        draft.system, draft.place = target.system, target.place
        act(cast, target)
        return Identity(system=str(draft.system), place=str(draft.place))

    monkeypatch.setattr(targets, "_identify", identify)
    with nullcontext() if refusal is None else pytest.raises(refusal):
        targets.change_credentials(
            actor=cast.principal(cast.alice),
            target=Target.objects.select_related("environment").get(pk=target.pk),
            credentials={"token": "s.new"},
            destination={"address": address},
        )
    assert (Target.objects.get(pk=target.pk).endpoint == address) is (refusal is None)


@pytest.mark.parametrize("automatic", [True, False])
def test_no_target_writes_by_itself_where_approvals_were_turned_on_while_its_system_was_asked(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, automatic: bool
) -> None:
    def identify(target: Target, destination: dict[str, str], _: object) -> Identity:
        place = Environment.objects.get(pk=cast.development.pk)
        place.protected = True
        place.save()
        target.endpoint, target.destination = destination["address"], destination
        target.system, target.place = REBUILT, "vault"
        return Identity(system=REBUILT, place="vault")

    monkeypatch.setattr(targets, "_identify", identify)
    with pytest.raises(ApprovalVoid) if automatic else nullcontext():
        targets.create(
            actor=cast.principal(cast.alice),
            environment=Environment.objects.get(pk=cast.development.pk),
            name="vault",
            backend="vault_kv2",
            destination={"address": "https://vault.example", "mount": "secret", "prefix": "app"},
            credentials={"token": "s.example"},
            direction="push",
            automatic=automatic,
        )
    assert Target.objects.exists() is not automatic


CHANGES: dict[str, dict[str, Any]] = {
    "another worker began it": {"due_at": None},
    "it was paused": {"paused_at": database_now},
    "it was removed": {"live": None},
}


@pytest.mark.parametrize("meanwhile", [*CHANGES, ""])
def test_a_pass_is_not_begun_after_what_changed_since_it_was_found_due(cast: Cast, meanwhile: str) -> None:
    target = make_target(cast.development, automatic=True, due_at=database_now())
    found = Target.objects.select_related("environment").get(pk=target.pk)
    stored = Target.objects.get(pk=target.pk)
    for name, value in CHANGES.get(meanwhile, {}).items():
        setattr(stored, name, value() if callable(value) else value)
    stored.save()
    schedule._start(found, database_now())
    assert Run.objects.count() == (0 if meanwhile else 1)


def test_a_due_time_that_changed_while_the_clock_is_corrected_stays(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = database_now() + timedelta(days=3)
    target = make_target(cast.development, due_at=ahead)
    chosen = database_now() + timedelta(hours=1)

    class Slow(timedelta):
        """The pause between the look at a target and the change of it."""

        def __new__(cls, **given: Any) -> Any:
            Target.objects.filter(pk=target.pk).update(due_at=chosen)
            return timedelta(**given)

    monkeypatch.setattr(schedule, "timedelta", Slow)
    schedule.correct_future_due_times()
    assert Target.objects.get(pk=target.pk).due_at == chosen
