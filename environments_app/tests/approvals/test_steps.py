"""Each step of a request: what it records, whom it tells, which alert it ends, and what it destroys."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple
from unittest import mock

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.api.approvals import ApprovalDocument
from environments_app.approval_executor import AccessApprovalExecutor
from environments_app.approvals import applying, gate, history
from environments_app.approvals import service as approvals
from environments_app.approvals.access_proposals import weakening
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Conflict, Forbidden, Invisible
from environments_app.models import (
    Alert,
    Approval,
    ApprovalState,
    Delivery,
    Environment,
    Membership,
    Role,
    User,
)
from environments_app.tests.cast import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note for which requests what was kept is destroyed."""
    noted: list[int] = []
    monkeypatch.setattr(AccessApprovalExecutor, "forget", lambda _self, approval: noted.append(approval.pk))
    return noted


@pytest.fixture
def asked(cast: Cast, forgotten: list[int]) -> Approval:
    """Return alice's request, held, to end the protection of production, which erin manages as well."""
    for user in (cast.alice, cast.erin):
        user.email = f"{user.username}@example.com"
        user.save()
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    cast.production.protected = True
    cast.production.save()
    return ask(cast)


def ask(cast: Cast) -> Approval:
    place = Environment.objects.get(pk=cast.production.pk)
    with pytest.raises(ApprovalNeeded) as raised:
        environments.update_environment(actor=cast.principal(cast.alice), environment=place, protected=False)
    stored = fresh(raised.value.approval)
    stored.held = "held"
    stored.save()
    return stored


def fresh(pk: int) -> Approval:
    return Approval.objects.select_related("environment").get(pk=pk)


class Seen(NamedTuple):
    """What came of a step."""

    event: str
    told: list[tuple[str, str]]
    alert: bool
    forgotten: int


def seen(cast: Cast, approval: Approval, forgotten: list[int], action: Action) -> Seen:
    """Return the newest event of a request, who was told what since the last look, and what else is so."""
    event = AuditEvent.objects.filter(object_uuid=approval.uuid).latest("id")
    assert event.action == action
    details = json.loads(event.details)
    assert (details["act"], details["requester"]) == (Action.ENVIRONMENT_UPDATE, "alice")
    assert details["object"] == str(approval.object_uuid)
    names = {user.uuid: user.username for user in (cast.alice, cast.erin, cast.root)}
    told = [
        (names[row.addressee], row.subject)
        for row in Delivery.objects.filter(addressee__in=names).order_by("id")
    ]
    Delivery.objects.all().delete()
    is_open = Alert.objects.filter(kind="approval", about=approval.uuid, open=True).exists()
    count = forgotten.count(approval.pk)
    return Seen(f"{event.actor_name}: {details.get('decision', event.outcome)}", told, is_open, count)


ACT = "update environment production"


def test_it_is_asked_approved_and_carried_out(cast: Cast, asked: Approval, forgotten: list[int]) -> None:
    alice, erin = cast.principal(cast.alice), cast.principal(cast.erin)
    assert seen(cast, asked, forgotten, Action.APPROVAL_ASK) == (
        "alice: allowed", [("erin", f"alice asks to {ACT}")], True, 0,
    )  # fmt: skip
    approved = approvals.approve(actor=erin, approval=asked, comment="fine")
    assert seen(cast, asked, forgotten, Action.APPROVAL_DECIDE) == (
        "erin: approved", [("alice", f"erin approved your request to {ACT}")], False, 0,
    )  # fmt: skip
    approvals.carry_out(actor=alice, approval=approved)
    assert seen(cast, asked, forgotten, Action.APPROVAL_CARRY_OUT) == ("alice: allowed", [], False, 1)
    stored = fresh(asked.pk)
    assert (stored.state, stored.finished_at is not None) == (ApprovalState.EXECUTED, True)
    assert (stored.decided_by_uuid, stored.decided_by_name) == (cast.erin.uuid, "erin")
    assert (stored.comment, stored.decided_at is not None) == ("fine", True)


def test_it_is_rejected(cast: Cast, asked: Approval, forgotten: list[int]) -> None:
    seen(cast, asked, forgotten, Action.APPROVAL_ASK)
    approvals.reject(actor=cast.principal(cast.erin), approval=asked, comment="no")
    assert seen(cast, asked, forgotten, Action.APPROVAL_DECIDE) == (
        "erin: refused", [("alice", f"erin rejected your request to {ACT}")], False, 1,
    )  # fmt: skip
    assert fresh(asked.pk).finished_at is not None


def test_it_is_withdrawn_or_comes_to_its_end(cast: Cast, asked: Approval, forgotten: list[int]) -> None:
    approvals.withdraw(actor=cast.principal(cast.alice), approval=asked)
    Delivery.objects.all().delete()
    assert seen(cast, asked, forgotten, Action.APPROVAL_WITHDRAW) == ("alice: allowed", [], False, 1)
    second = ask(cast)
    second.expires_at = timezone.now() - timedelta(seconds=1)
    second.save()
    Delivery.objects.all().delete()
    assert approvals.expire_due() == 1
    found = seen(cast, second, forgotten, Action.APPROVAL_EXPIRE)
    assert (found.told, found.alert, found.forgotten) == ([], False, 1)
    assert {fresh(asked.pk).state, fresh(second.pk).state} == {"withdrawn", "expired"}


def test_a_change_of_its_reason_is_recorded(cast: Cast, asked: Approval, forgotten: list[int]) -> None:
    approvals.explain(actor=cast.principal(cast.alice), approval=asked, reason=" why ", held=False)
    event = AuditEvent.objects.filter(object_uuid=asked.uuid).latest("id")
    details = json.loads(event.details)
    assert (event.action, details["reason"], details["held"]) == (Action.APPROVAL_ASK, "why", False)
    assert (fresh(asked.pk).reason, fresh(asked.pk).held) == ("why", "")


def test_who_holds_a_request_gives_no_reason_again(
    cast: Cast, asked: Approval, forgotten: list[int], signed_in: Callable[[User], Client]
) -> None:
    approvals.explain(actor=cast.principal(cast.alice), approval=asked, reason="why")
    answer = signed_in(cast.alice).patch(
        f"/api/approvals/{asked.pk}", {"held": True}, content_type="application/json"
    )
    assert (answer.status_code, answer.json()["reason"], fresh(asked.pk).held) == (200, "why", "held")


def test_the_first_of_several_is_recorded_and_told(cast: Cast, asked: Approval, forgotten: list[int]) -> None:
    cast.production.approvals_required = 2
    cast.production.save()
    several = ask(cast)
    Delivery.objects.all().delete()
    approvals.approve(actor=cast.principal(cast.erin), approval=several, comment="one")
    assert seen(cast, several, forgotten, Action.APPROVAL_DECIDE) == (
        "erin: approved", [("alice", f"erin approved (1 of 2) your request to {ACT}")], True, 0,
    )  # fmt: skip


def test_what_could_not_be_applied_is_told_to_who_asked(
    cast: Cast, asked: Approval, forgotten: list[int]
) -> None:
    approved = approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    Delivery.objects.all().delete()
    with mock.patch.object(approvals, "carry_out", side_effect=Conflict("It has changed.")):
        applied = applying._apply(approved)
    assert (applied.done, applied.reason) == (False, "It has changed.")
    (told,) = Delivery.objects.filter(addressee=cast.alice.uuid)
    assert told.subject == f"Keeper could not apply your approved request to {ACT}"
    assert ApprovalDocument(fresh(asked.pk)).data["failure"] == "It has changed."


@pytest.mark.parametrize("who", ["erin", "bob", "root"])
def test_what_is_the_requesters_own_is_no_other_persons(cast: Cast, asked: Approval, who: str) -> None:
    other = cast.principal(getattr(cast, who))
    approved = approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    acts: dict[Action, Callable[[], object]] = {
        Action.APPROVAL_ASK: lambda: approvals.explain(actor=other, approval=approved, reason="mine"),
        Action.APPROVAL_WITHDRAW: lambda: approvals.withdraw(actor=other, approval=approved),
        Action.APPROVAL_CARRY_OUT: lambda: approvals.carry_out(actor=other, approval=approved),
    }
    for action, act in acts.items():
        with pytest.raises(Forbidden, match="Only the requester"):
            act()
        (denied,) = AuditEvent.objects.filter(action=action, outcome="denied")
        assert denied.actor_name == who
    stored = fresh(asked.pk)
    assert (stored.state, stored.reason) == (ApprovalState.APPROVED, "")
    assert Environment.objects.get(pk=cast.production.pk).protected


def test_who_may_not_know_of_a_request_decides_nothing_about_it(cast: Cast, asked: Approval) -> None:
    for act in (approvals.approve, approvals.reject):
        with pytest.raises(Invisible):
            act(actor=cast.principal(cast.charlie), approval=asked)
    assert AuditEvent.objects.filter(action=Action.APPROVAL_DECIDE, outcome="denied").count() == 2


def test_a_refused_step_leaves_nothing_behind(cast: Cast, asked: Approval) -> None:
    # One too many is refused before anything of it is stored.
    before = (Approval.objects.count(), Alert.objects.count(), AuditEvent.objects.count())
    place = Environment.objects.get(pk=cast.production.pk)
    proposal = weakening(place, {"protected": False, "offline_hours": 24})
    with mock.patch.object(gate, "_MAX_OPEN", 1), pytest.raises(Conflict):
        gate.require_approval(actor=cast.principal(cast.alice), proposal=proposal)
    assert (Approval.objects.count(), Alert.objects.count(), AuditEvent.objects.count()) == before


def test_approving_twice_by_one_person_or_after_the_end_is_refused_and_recorded(
    cast: Cast, asked: Approval
) -> None:
    erin = cast.principal(cast.erin)
    approvals.approve(actor=erin, approval=asked)
    with pytest.raises(ApprovalVoid, match="approved already"):
        approvals.approve(actor=erin, approval=asked)
    assert AuditEvent.objects.filter(action=Action.APPROVAL_DECIDE, outcome="denied").count() == 1
    assert history.entries_of(asked) == []
