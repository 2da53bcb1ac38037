"""The gate at its edges: who gets a grant, where it holds, and what may have happened before it is consumed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from audit_app.events.actions import Action
from core.db.statements import have_rows
from environments_app.approvals import gate
from environments_app.approvals import service as approvals
from environments_app.approvals.access_proposals import weakening
from environments_app.approvals.gate import (
    ApprovalGrant,
    Proposal,
    approval_for_request,
    require_approval,
    system_approval,
)
from environments_app.authorization.principals import system_principal, token_principal
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Conflict
from environments_app.models import Approval, ApprovalState, Environment, Membership, Role
from environments_app.tests.cast import Cast
from environments_app.tokens import service as tokens

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]


@pytest.fixture
def place(cast: Cast) -> Environment:
    """Return production, protected, which alice and erin manage."""
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    protect(cast.production)
    return Environment.objects.get(pk=cast.production.pk)


def protect(environment: Environment) -> None:
    environment.protected = True
    environment.save()


def ending(place: Environment, **differently: Any) -> Proposal:
    """Return the proposal to end the protection."""
    return replace(weakening(place, {"protected": False}), **differently)


def ask(cast: Cast, proposal: Proposal) -> Approval:
    """Return alice's held request."""
    alice = cast.principal(cast.alice)
    with pytest.raises(ApprovalNeeded) as raised:
        require_approval(actor=alice, proposal=proposal)
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    return approvals.explain(actor=alice, approval=asked, reason="", held=True)


def approved_grant(cast: Cast, place: Environment) -> tuple[Approval, ApprovalGrant]:
    """Return an approved request of alice's, and the grant with which she has passed the gate."""
    approved = approvals.approve(actor=cast.principal(cast.erin), approval=ask(cast, ending(place)))
    return approved, require_approval(actor=cast.principal(cast.alice), proposal=ending(place))


def test_the_gate_alone_makes_grants(cast: Cast) -> None:
    with pytest.raises(TypeError):
        ApprovalGrant(object(), cast.development)


def test_a_grant_holds_for_one_environment(cast: Cast, place: Environment) -> None:
    _, grant = approved_grant(cast, place)
    for use in (grant.consume, grant.consume_approval, grant.require_unneeded):
        with pytest.raises(TypeError):
            use(cast.development)
    unneeded = system_approval(cast.principal(cast.alice), cast.development)
    with pytest.raises(TypeError):
        unneeded.consume(cast.production)


def test_a_grant_that_needed_no_approval_asks_whether_the_environment_is_protected_since(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    unneeded = require_approval(actor=alice, proposal=ending(cast.production))
    assert unneeded.consume(cast.production) == {}
    (precondition,) = unneeded.preconditions()
    assert have_rows([precondition.query]) == [False]
    protect(cast.production)
    assert have_rows([precondition.query]) == [True]
    assert isinstance(precondition.error, ApprovalVoid)
    for use in (unneeded.consume, unneeded.require_unneeded):
        with pytest.raises(ApprovalVoid, match="turned on"):
            use(cast.production)
    # Keeper's own work, and what an approval allows, ask nothing of that.
    own = system_approval(system_principal(is_admin=True), cast.production)
    own.require_unneeded(cast.production)
    assert have_rows([each.query for each in own.preconditions()]) == [False]


def test_a_grant_with_an_approval_asks_for_no_other(cast: Cast, place: Environment) -> None:
    _, grant = approved_grant(cast, place)
    assert have_rows([each.query for each in grant.preconditions()]) == [False]
    grant.require_unneeded(place)


def test_no_grant_writes_into_an_environment_that_was_deleted_since(cast: Cast, place: Environment) -> None:
    _, approved = approved_grant(cast, place)
    own = system_approval(system_principal(is_admin=True), place)
    place.deleted_at = timezone.now()
    place.save()
    for grant in (approved, own):
        with pytest.raises(ApprovalVoid, match="deleted"):
            grant.consume(place)


@pytest.mark.parametrize("state", [state for state in ApprovalState if state != ApprovalState.APPROVED])
def test_what_became_of_a_request_since_the_gate_was_passed_ends_its_grant(
    cast: Cast, place: Environment, state: ApprovalState
) -> None:
    approved, grant = approved_grant(cast, place)
    approved.state = state
    approved.save()
    with pytest.raises(ApprovalVoid, match=r"already applied|not approved"):
        grant.consume(place, state=approved.expected)
    assert Approval.objects.get(pk=approved.pk).state == state


def test_an_approver_who_is_off_since_the_gate_was_passed_ends_the_grant(
    cast: Cast, place: Environment
) -> None:
    approved, grant = approved_grant(cast, place)
    cast.erin.is_active = False
    cast.erin.save()
    with pytest.raises(ApprovalVoid, match="approver no longer"):
        grant.consume(place, state=approved.expected)
    assert Approval.objects.get(pk=approved.pk).state == ApprovalState.APPROVED


@pytest.mark.parametrize(
    "differently",
    [
        {"content": {"protected": True}},
        {"expected": "another state"},
        {"arguments": {"changes": {"archived": True}}},
        {"action": Action.MEMBER_GRANT},
    ],
    ids=lambda each: next(iter(each)),
)
def test_another_act_than_the_approved_one_is_asked_about_anew(
    cast: Cast, place: Environment, differently: dict[str, Any]
) -> None:
    approved, _ = approved_grant(cast, place)
    with pytest.raises(ApprovalNeeded) as raised:
        require_approval(actor=cast.principal(cast.alice), proposal=ending(place, **differently))
    assert raised.value.approval != approved.pk


def test_the_same_act_of_another_person_or_object_is_asked_about_anew(cast: Cast, place: Environment) -> None:
    approved, _ = approved_grant(cast, place)
    own = ending(place).object
    others = [own._replace(**part) for part in ({"uuid": uuid4()}, {"kind": "target"}, {"name": "renamed"})]
    for actor, proposal in (
        (cast.principal(cast.erin), ending(place)),
        *((cast.principal(cast.alice), ending(place, object=other)) for other in others),
    ):
        with pytest.raises(ApprovalNeeded) as raised:
            require_approval(actor=actor, proposal=proposal)
        assert raised.value.approval != approved.pk


def test_one_who_names_a_request_gets_no_other_act_done(cast: Cast, place: Environment) -> None:
    approved, _ = approved_grant(cast, place)
    naming = cast.principal(cast.alice).carrying(approved.uuid)
    with pytest.raises(ApprovalVoid, match="Something has changed"):
        require_approval(actor=naming, proposal=ending(place, expected="another state"))
    assert Approval.objects.count() == 1


def test_an_equal_request_is_asked_once(cast: Cast, place: Environment) -> None:
    first = ask(cast, ending(place))
    with pytest.raises(ApprovalNeeded) as raised:
        require_approval(actor=cast.principal(cast.alice), proposal=ending(place))
    assert raised.value.approval == first.pk


def test_so_many_requests_wait_and_no_more(
    cast: Cast, place: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "_MAX_OPEN", 2)
    protect(cast.development)

    def ask_as(user: Any, environment: Environment, number: int) -> None:
        with pytest.raises(ApprovalNeeded):
            require_approval(
                actor=cast.principal(user), proposal=ending(environment, expected=f"state {number}")
            )

    ask_as(cast.alice, place, 1)
    ask_as(cast.alice, place, 2)
    # Neither those of another person nor those in another environment count.
    ask_as(cast.erin, place, 3)
    ask_as(cast.alice, cast.development, 4)
    proposal = ending(place, expected="one too many")
    with pytest.raises(Conflict, match="2 of your requests"):
        require_approval(actor=cast.principal(cast.alice), proposal=proposal)
    assert Approval.objects.count() == 4
    # What is over waits no longer: a rejected one, and one whose time has passed.
    first, second = Approval.objects.filter(environment=place, requester_uuid=cast.alice.uuid)
    approvals.reject(actor=cast.principal(cast.erin), approval=first)
    ask_as(cast.alice, place, 5)
    second.expires_at = timezone.now() - timedelta(seconds=1)
    second.save()
    ask_as(cast.alice, place, 6)


def test_keeper_alone_works_without_asking(cast: Cast, place: Environment, sql: Callable[..., None]) -> None:
    with pytest.raises(TypeError):
        system_approval(cast.principal(cast.root), place)
    assert system_approval(system_principal(is_admin=True), place).consume(place) == {}
    # A row that Keeper did not write counts as protected.
    sql("UPDATE environments_app_environment SET name = 'x' WHERE id = %s", cast.development.pk)
    with pytest.raises(TypeError):
        system_approval(cast.principal(cast.alice), Environment.objects.get(pk=cast.development.pk))


def test_who_asked_for_access_gets_no_grant_of_it(cast: Cast, place: Environment) -> None:
    proposal = SimpleNamespace(environment=place, action=Action.MEMBER_GRANT)

    def clear(actor: Any, asked_by: UUID) -> ApprovalGrant:
        return approval_for_request(actor=actor, proposal=proposal, asked_by=asked_by, role=Role.READER)  # type: ignore[arg-type]

    token, _ = tokens.issue(
        actor=system_principal(is_admin=True), environment=place, role="manager", name="ci"
    )
    for actor in (cast.principal(cast.alice), cast.principal(cast.root), token_principal(token)):
        asked_by = cast.alice.uuid if actor.uuid == cast.alice.uuid else cast.bob.uuid
        with pytest.raises(TypeError):
            clear(actor, asked_by)
    # The manager is the second person of a role that reads.
    assert clear(cast.principal(cast.alice), cast.bob.uuid).consume(place) == {}


def test_what_is_over_is_asked_about_anew(cast: Cast, place: Environment) -> None:
    for state in (ApprovalState.PENDING, ApprovalState.APPROVED):
        asked = ask(cast, ending(place, expected=f"state {state}"))
        asked.state, asked.decided_by_uuid, asked.decided_by_name = state, cast.erin.uuid, "erin"
        asked.decided_at, asked.expires_at = timezone.now(), timezone.now() - timedelta(seconds=1)
        asked.save()
        again = ask(cast, ending(place, expected=f"state {state}"))
        assert again.pk != asked.pk


def test_a_request_of_another_environment_voids_nothing_here(cast: Cast, place: Environment) -> None:
    protect(cast.development)
    there = ask(cast, ending(cast.development))
    naming = cast.principal(cast.alice).carrying(there.uuid)
    with pytest.raises(ApprovalNeeded):
        require_approval(actor=naming, proposal=ending(place))


def test_the_reason_of_a_request_is_limited(cast: Cast, place: Environment) -> None:
    asked = ask(cast, ending(place, reason="x" * (gate.MAX_REASON + 1)))
    (kept,) = Approval.objects.filter(pk=asked.pk).values_list("reason", flat=True)
    assert len(kept) <= gate.MAX_REASON
    with pytest.raises(ApprovalNeeded) as raised:
        require_approval(
            actor=cast.principal(cast.alice),
            proposal=ending(place, expected="other", reason="y" * (gate.MAX_REASON + 1)),
        )
    assert Approval.objects.get(pk=raised.value.approval).reason == "y" * gate.MAX_REASON
