"""What changes between a look at a rotation and the act: the act sees it, and nothing is written."""

from collections.abc import Callable
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from environments_app.authorization.rows import lock_authentic
from environments_app.errors import ApprovalVoid, Forbidden, Tampered
from environments_app.models import Environment
from environments_app.tests.cast import Cast
from secrets_app.errors import ManagedValue, StaleVersion
from secrets_app.models import Secret
from secrets_app.services import lifecycle, write
from sync_app.domain.rotation_state import FOLLOWS, Slot, Step
from sync_app.errors import (
    LeaseLost,
    LoginRefused,
    RotationConflict,
    ShutdownRequested,
    TargetUnreachable,
)
from sync_app.jobs.leases import database_now
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution import logins, operator_actions, requests, schedule, steps
from sync_app.rotation.execution.runner import MAX_ATTEMPTS
from sync_app.rotation.execution.session import RotationLease, claim
from sync_app.rotation.policies import guards
from sync_app.rotation.policies import service as policies
from sync_app.rotation.policies.credentials import open_policy, seal_credentials
from sync_app.rotators.base import LoginAnswer, LoginProbe
from sync_app.rotators.generated.rotator import GeneratedValue
from sync_app.rotators.generated.tests.world import GeneratedWorld
from sync_app.tests.rotation.making import (
    again,
    asked,
    grace_over,
    made_policy,
    made_secret,
    stages,
    stored,
    waited,
    worked,
)

pytestmark = pytest.mark.django_db(transaction=True)

Answers = Callable[[LoginAnswer], None]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Let each login be answered so from now on."""

    def given(answer: LoginAnswer) -> None:
        monkeypatch.setattr(GeneratedValue, "supports_probe", True)
        monkeypatch.setattr(GeneratedValue, "probe", lambda *_: LoginProbe(answer, "so said"))

    return given


def rows() -> list[dict[str, Any]]:
    """Return what is stored of rotations, policies and the stages of secrets."""
    stages_of = ("current_number", "previous_number", "pending_number")
    return [
        *map(dict, Rotation.objects.order_by("pk").values()),
        *map(dict, RotationPolicy.objects.order_by("pk").values()),
        *map(dict, Secret.objects.order_by("pk").values(*stages_of)),
    ]


def paused_after(rotation: Rotation, step: Step, monkeypatch: pytest.MonkeyPatch) -> Rotation:
    """Let the worker be stopped as soon as the rotation has come to a step."""

    def stopping() -> None:
        if again(rotation).step == step:
            raise ShutdownRequested("stop")

    with monkeypatch.context() as while_stopping:
        while_stopping.setattr(steps, "raise_if_shutdown_requested", stopping)
        assert worked(rotation).step == step
    return waited(rotation)


# --- The lease --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "act",
    [
        lambda lease: lease.renew(),
        lambda lease: lease.create_fence(),
        lambda lease: lease.advance(Step.SET),
        lambda lease: lease.requeue(not_before=None),
        lambda lease: lease.requeue(not_before=None, waiting=True),
        lambda lease: lease.stop("a problem"),
    ],
    ids=["renew", "fence", "advance", "requeue", "wait", "stop"],
)
@pytest.mark.parametrize(
    "meanwhile",
    [{"epoch": 99}, {"lease_owner": "another"}, {"step": Step.TEST}, {"stopped_at": "now"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_worker_that_lost_its_rotation_changes_nothing_of_it(
    cast: Cast, meanwhile: dict[str, Any], act: Callable[[RotationLease], object]
) -> None:
    rotation = asked(cast, made_policy(cast, GeneratedWorld()))
    lease = claim(rotation.pk, owner="worker")
    assert lease is not None
    changes = {name: database_now() if value == "now" else value for name, value in meanwhile.items()}
    Rotation.objects.update(**changes)
    before = rows()
    with pytest.raises(LeaseLost):
        act(lease)
    assert rows() == before
    if {"epoch", "lease_owner"} & set(meanwhile):
        with pytest.raises(LeaseLost):
            lease.reload()


def test_a_worker_takes_the_stored_row_after_its_transaction_was_rolled_back(cast: Cast) -> None:
    rotation = asked(cast, made_policy(cast, GeneratedWorld()))
    lease = claim(rotation.pk, owner="worker")
    assert lease is not None
    with transaction.atomic():
        lease.advance(Step.SET, to_number=7)
        transaction.set_rollback(True)
    lease.reload()
    assert (lease.rotation.step, lease.rotation.to_number) == (Step.PREPARE, None)
    lease.advance(Step.SET, to_number=2)
    assert (again(rotation).step, again(rotation).to_number) == (Step.SET, 2)


def test_a_rotation_continues_to_no_step_that_does_not_follow(cast: Cast) -> None:
    rotation = asked(cast, made_policy(cast, GeneratedWorld()))
    lease = claim(rotation.pk, owner="worker")
    assert lease is not None
    for step, after in product(Step, Step):
        if after in FOLLOWS[step]:
            continue
        Rotation.objects.update(step=step)
        lease.rotation.step = step
        with pytest.raises(AssertionError):
            lease.advance(after)
        assert again(rotation).step == step


# --- What an operator decides -----------------------------------------------------------------


def test_a_value_that_does_not_log_in_is_not_served_again(cast: Cast, answers: Answers) -> None:
    rotation = worked(asked(cast, made_policy(cast, GeneratedWorld())))
    for answer in (LoginAnswer.REFUSED, LoginAnswer.UNKNOWN):
        answers(answer)
        before = rows()
        with pytest.raises(LoginRefused):
            operator_actions.roll_back(actor=cast.principal(cast.erin), rotation=again(rotation))
        assert rows() == before


def test_a_worker_that_begins_to_retire_meanwhile_keeps_the_value_from_being_served(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The value before logged in when it was tried, and may be ended by the time it would be served."""
    rotation = worked(asked(cast, made_policy(cast, GeneratedWorld())))

    def meanwhile(**given: Any) -> Any:
        opened = open_policy(**given)
        operator_actions.end_grace(actor=cast.principal(cast.alice), rotation=again(rotation))
        return opened

    monkeypatch.setattr(operator_actions, "open_policy", meanwhile)
    with pytest.raises(RotationConflict, match="changed meanwhile"):
        operator_actions.roll_back(actor=cast.principal(cast.erin), rotation=again(rotation))
    left = again(rotation)
    assert (left.reverted, left.cut) == (False, True)
    assert stored(left.policy.secret).current_number == left.to_number


def test_a_rotation_whose_workers_end_time_and_again_is_stopped(cast: Cast) -> None:
    rotation = asked(cast, made_policy(cast, GeneratedWorld()))
    Rotation.objects.filter(pk=rotation.pk).update(attempts=MAX_ATTEMPTS)
    stopped = worked(rotation)
    assert (stopped.step, stopped.stopped_at is None) == (rotation.step, False)
    assert "ended unexpectedly" in stopped.problem
    assert stored(stopped.policy.secret).current_number == 1


@pytest.mark.parametrize("who", ["vera", "bob"])
def test_who_may_not_decide_has_no_value_opened_and_no_login_tried(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    rotation = worked(asked(cast, made_policy(cast, GeneratedWorld())))
    monkeypatch.setattr(operator_actions, "open_policy", lambda **_: pytest.fail("it was opened"))
    before = rows()
    with pytest.raises(Forbidden):
        operator_actions.roll_back(actor=cast.principal(getattr(cast, who)), rotation=again(rotation))
    assert rows() == before


def test_nothing_is_decided_about_a_step_that_has_passed(cast: Cast) -> None:
    """Each was possible when the page was shown: the new value is served since, and then its time is over."""
    rotation = worked(asked(cast, made_policy(cast, GeneratedWorld())))
    assert rotation.step == Step.GRACE
    erin, before = cast.principal(cast.erin), rows()
    for decide in (operator_actions.abandon, operator_actions.retry, operator_actions.retire):
        with pytest.raises(RotationConflict, match="is at grace"):
            decide(actor=erin, rotation=again(rotation))
        assert rows() == before
    shown = again(rotation)
    assert worked(grace_over(rotation)).step == Step.DONE
    before = rows()
    for decide in (operator_actions.roll_back, operator_actions.end_grace, operator_actions.retry):
        with pytest.raises(RotationConflict):
            decide(actor=cast.principal(cast.alice), rotation=shown)
        assert rows() == before


def test_a_login_is_not_ended_by_hand_where_another_version_is_served(cast: Cast, answers: Answers) -> None:
    world = GeneratedWorld()
    secret = made_secret(cast, world)
    rotation = worked(asked(cast, made_policy(cast, world, secret=secret)))
    row = again(rotation)
    row.step, row.stopped_at = Step.RETIRE, database_now()
    row.save()
    erin = cast.principal(cast.erin)
    left = operator_actions.abandon(actor=erin, rotation=again(rotation))
    assert left.leaves == "retire"
    answers(LoginAnswer.ACCEPTED)
    fresh = stored(secret)
    write.update(actor=cast.principal(cast.alice), secret=fresh, value="changed by hand", expected=fresh.etag)
    with pytest.raises(RotationConflict, match="another version is current"):
        operator_actions.retire(actor=erin, rotation=again(left))
    assert (again(left).leaves, again(left).slot) == ("retire", None)


@pytest.mark.parametrize("ends", [False, True])
def test_an_emergency_hastens_no_rotation_that_has_gone_on_meanwhile(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    policy = made_policy(cast, GeneratedWorld())
    worked(asked(cast, policy))
    left = list[dict[str, Any]]()

    def meanwhile(row: Rotation) -> Any:
        operator_actions.end_grace(actor=cast.principal(cast.alice), rotation=again(row))
        if ends:
            assert worked(row).step == Step.DONE
        left.extend(rows())
        return lock_authentic(row)

    monkeypatch.setattr(requests, "lock_authentic", meanwhile)
    requests.expedite(actor=cast.principal(cast.erin), policy=policy)
    assert rows() == left != []


def test_a_queued_rotation_that_was_edited_is_not_made_genuine_by_an_emergency(cast: Cast) -> None:
    policy = made_policy(cast, GeneratedWorld())
    worked(asked(cast, policy))
    waiting = asked(cast, policy)
    assert waiting.slot == Slot.WAITING
    Rotation.objects.filter(pk=waiting.pk).update(to_number=1)
    with pytest.raises(Tampered):
        requests.request_rotation(actor=cast.principal(cast.alice), policy=policy, emergency=True)
    assert (again(waiting).emergency, again(waiting).is_authentic()) == (False, False)


def test_an_emergency_concerns_the_rotations_of_its_own_policy_alone(cast: Cast) -> None:
    world = GeneratedWorld()
    others = made_policy(cast, world, secret=made_secret(cast, world, name="others"))
    worked(asked(cast, others))
    waiting = asked(cast, others)
    assert waiting.slot == Slot.WAITING
    policy = made_policy(cast, world)
    before = list(Rotation.objects.filter(policy=others).order_by("pk").values())
    mine = worked(asked(cast, policy))
    alice = cast.principal(cast.alice)
    urgent = requests.request_rotation(actor=alice, policy=policy, emergency=True)
    assert (urgent.policy, urgent.emergency, again(mine).cut) == (policy, True, True)
    assert list(Rotation.objects.filter(policy=others).order_by("pk").values()) == before


# --- The schedule and the policy --------------------------------------------------------------


@pytest.mark.parametrize("meanwhile", ["claimed", "suspended", "removed"])
def test_a_policy_that_was_claimed_or_put_to_sleep_meanwhile_is_not_rotated(
    cast: Cast, meanwhile: str
) -> None:
    policy = made_policy(cast, GeneratedWorld(), interval_seconds=86_400)
    RotationPolicy.objects.update(due_at=database_now())
    (due,) = schedule.due_policies(database_now())
    alice = cast.principal(cast.alice)
    if meanwhile == "claimed":
        (other,) = schedule.due_policies(database_now())
        schedule._start(other, database_now())
    elif meanwhile == "suspended":
        policies.suspend(actor=alice, policy=policy)
    else:
        policies.remove(actor=alice, policy=policy)
    before = rows()
    schedule._start(due, database_now())
    assert rows() == before
    assert Rotation.objects.count() == (meanwhile == "claimed")


def test_a_policy_that_is_due_at_the_same_moment_keeps_its_turn(cast: Cast) -> None:
    world, moment = GeneratedWorld(), database_now()
    for name in ("one", "two"):
        made_policy(cast, world, secret=made_secret(cast, world, name=name), interval_seconds=86_400)
    RotationPolicy.objects.update(due_at=moment)
    first, second = schedule.due_policies(database_now())
    schedule._start(first, database_now())
    assert RotationPolicy.objects.get(pk=second.pk).due_at == moment
    schedule._start(second, database_now())
    assert sorted(Rotation.objects.values_list("policy__secret__name", flat=True)) == ["one", "two"]


def edit(cast: Cast, secret: Secret) -> None:
    fresh = stored(secret)
    write.update(actor=cast.principal(cast.alice), secret=fresh, value="second", expected=fresh.etag)


def drop(cast: Cast, secret: Secret) -> None:
    lifecycle.delete(actor=cast.principal(cast.alice), secret=stored(secret))


def refer(cast: Cast, secret: Secret) -> None:
    fresh = stored(secret)
    write.update(
        actor=cast.principal(cast.alice),
        secret=fresh,
        value=GeneratedWorld.current,
        expected=fresh.etag,
        uses_references=True,
    )


def protect(cast: Cast, _: Secret) -> None:
    place = Environment.objects.get(pk=cast.development.pk)
    place.protected = True
    place.save()


@pytest.mark.parametrize(
    ("meanwhile", "error"),
    [
        (edit, RotationConflict),
        (drop, RotationConflict),
        (refer, RotationConflict),
        (protect, ApprovalVoid),
    ],
)
def test_a_secret_that_changes_while_its_value_is_proved_gets_no_policy(
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[Cast, Secret], None],
    error: type[Exception],
) -> None:
    secret = made_secret(cast, GeneratedWorld())

    def then(*given: Any) -> None:
        seal_credentials(*given)
        meanwhile(cast, secret)

    monkeypatch.setattr(policies, "seal_credentials", then)
    with pytest.raises(error):
        made_policy(cast, GeneratedWorld(), secret=secret)
    assert not RotationPolicy.objects.exists()


@pytest.mark.parametrize(
    ("answer", "error"), [(LoginAnswer.UNKNOWN, TargetUnreachable), (LoginAnswer.REFUSED, LoginRefused)]
)
def test_a_value_that_does_not_log_in_gets_no_policy(
    cast: Cast, answers: Answers, answer: LoginAnswer, error: type[Exception]
) -> None:
    secret = made_secret(cast, GeneratedWorld())
    answers(answer)
    with pytest.raises(error):
        made_policy(cast, GeneratedWorld(), secret=secret)
    assert not RotationPolicy.objects.exists()


def test_a_policy_that_was_suspended_meanwhile_is_not_resumed_without_approval(cast: Cast) -> None:
    """Resuming what runs asks for no approval: whoever looked before the suspension would get past it."""
    alice = cast.principal(cast.alice)
    policy = made_policy(cast, GeneratedWorld())
    seen = again(asked(cast, policy)).policy
    policies.suspend(actor=alice, policy=policy)
    with pytest.raises(RotationConflict, match="suspended in the meantime"):
        policies.resume(actor=alice, policy=seen)
    assert RotationPolicy.objects.get().suspended_at is not None


@pytest.mark.parametrize("answer", [LoginAnswer.UNKNOWN, LoginAnswer.REFUSED])
def test_a_value_is_not_written_by_hand_unless_it_was_seen_to_log_in(
    cast: Cast, answers: Answers, answer: LoginAnswer
) -> None:
    secret = made_secret(cast, GeneratedWorld())
    made_policy(cast, GeneratedWorld(), secret=secret)
    answers(answer)
    with pytest.raises(ManagedValue, match="so said"):
        guards.guard_write(actor=cast.principal(cast.alice), secret=stored(secret), value="by hand")


def test_a_value_is_not_written_under_a_policy_that_changed_meanwhile(cast: Cast, answers: Answers) -> None:
    """The value logs in where the policy was, which says nothing of where it is now."""
    secret = made_secret(cast, GeneratedWorld())
    policy = made_policy(cast, GeneratedWorld(), secret=secret)
    answers(LoginAnswer.ACCEPTED)
    alice = cast.principal(cast.alice)
    confirm = guards.guard_write(actor=alice, secret=stored(secret), value="by hand")
    policies.change(actor=alice, policy=policy, grace_seconds=7)
    with pytest.raises(StaleVersion), transaction.atomic():
        confirm()
    second = guards.guard_write(actor=alice, secret=stored(secret), value="by hand")
    with transaction.atomic():
        second()


def test_a_value_is_not_written_beside_a_rotation_that_began_meanwhile(cast: Cast, answers: Answers) -> None:
    secret = made_secret(cast, GeneratedWorld())
    policy = made_policy(cast, GeneratedWorld(), secret=secret)
    answers(LoginAnswer.ACCEPTED)
    confirm = guards.guard_write(actor=cast.principal(cast.alice), secret=stored(secret), value="by hand")
    asked(cast, policy)
    with pytest.raises(ManagedValue, match="has not ended"), transaction.atomic():
        confirm()


@pytest.mark.parametrize("changed", ["version", "settings"])
def test_an_idle_login_is_not_changed_for_a_value_or_settings_of_before(cast: Cast, changed: str) -> None:
    policy = made_policy(cast, GeneratedWorld())
    alice = cast.principal(cast.alice)
    logins._require_idle(alice, policy, 1)
    if changed == "settings":
        policy.settings = {**policy.settings, "login_b": "another"}
    with pytest.raises(RotationConflict):
        logins._require_idle(alice, policy, 2 if changed == "version" else 1)


# --- The steps --------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [LoginAnswer.REFUSED, LoginAnswer.UNKNOWN])
def test_a_value_that_logs_in_no_more_when_its_turn_comes_is_not_served(
    cast: Cast, answers: Answers, monkeypatch: pytest.MonkeyPatch, answer: LoginAnswer
) -> None:
    secret = made_secret(cast, GeneratedWorld())
    policy = made_policy(cast, GeneratedWorld(), secret=secret)
    answers(LoginAnswer.ACCEPTED)
    row = paused_after(asked(cast, policy), Step.PROMOTE, monkeypatch)
    before = stages(cast, secret)
    answers(answer)
    assert worked(row).step == Step.PROMOTE
    assert stages(cast, secret) == before


@pytest.mark.parametrize("step", [Step.SET, Step.TEST, Step.PROMOTE])
@pytest.mark.parametrize("number", [None, 99])
def test_a_value_that_was_not_the_staged_one_is_neither_set_nor_served(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, step: Step, number: int | None
) -> None:
    rotation = asked(cast, made_policy(cast, GeneratedWorld()))
    row = paused_after(rotation, step, monkeypatch)
    row.to_number = number
    row.save()
    done = worked(row)
    secret = stored(row.policy.secret)
    assert (secret.current_number, secret.previous_number, secret.pending_number) == (1, None, 2)
    assert (done.slot, done.promoted_at) == (Slot.WORKING, None)
    assert done.stopped_at is not None


@pytest.mark.parametrize("changes", [{"to_number": 99}, {"from_number": None}], ids=str)
def test_no_login_is_ended_by_a_rotation_that_does_not_know_what_is_served(
    cast: Cast, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = list[str]()
    monkeypatch.setattr(GeneratedValue, "retire", lambda _self, value, **_: ended.append(value))
    secret = made_secret(cast, GeneratedWorld())
    rotation = worked(asked(cast, made_policy(cast, GeneratedWorld(), secret=secret)))
    row = grace_over(rotation)
    for name, value in changes.items():
        setattr(row, name, value)
    row.save()
    done = worked(row)
    assert (done.slot, done.stopped_at is not None) == (Slot.WORKING, True)
    assert "abandon" in done.problem
    assert ended == []
    assert stages(cast, secret)["previous"] == GeneratedWorld.current


def test_a_key_that_was_left_is_not_revoked_where_the_value_was_changed_since() -> None:
    session = SimpleNamespace(secret=SimpleNamespace(current_number=3))
    left = SimpleNamespace(serving_number=2)
    # Anything else that were asked of the session would fail.
    steps._revoke_orphaned(session, left)  # type: ignore[arg-type]  # what is looked at


def test_a_grace_is_not_over_by_clocks_that_are_apart(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    rotation = worked(asked(cast, made_policy(cast, GeneratedWorld())))
    grace_over(rotation)
    ahead = timezone.now() + 2 * steps._CLOCKS_APART
    monkeypatch.setattr(timezone, "now", lambda: ahead)
    done = worked(rotation)
    assert (done.step, done.stopped_at) == (Step.GRACE, None)
    assert "clocks" in done.problem
