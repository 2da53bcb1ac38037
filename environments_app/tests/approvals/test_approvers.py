"""Who decides: which account counts as another person at the moment of the decision and of the change."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.approvals import service as approvals
from environments_app.approvals.access_proposals import weakening
from environments_app.approvals.approvers import people_who_decide, why_not_approver
from environments_app.approvals.gate import require_approval
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.principals import system_principal, token_principal
from environments_app.environments import memberships
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Forbidden
from environments_app.models import Approval, ApprovalState, Environment, Membership, Role
from environments_app.tests.cast import Cast
from environments_app.tokens import service as tokens
from environments_app.users import accounts

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
Events = Callable[..., list[AuditEvent]]


@pytest.fixture
def asked(cast: Cast) -> Approval:
    """Return alice's request to end the protection of production, which erin manages as well."""
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    cast.production.protected = True
    cast.production.save()
    with pytest.raises(ApprovalNeeded) as raised:
        environments.update_environment(
            actor=cast.principal(cast.alice), environment=cast.production, protected=False
        )
    return Approval.objects.select_related("environment").get(pk=raised.value.approval)


def test_each_refusal_has_its_reason(cast: Cast, asked: Approval, events: Events) -> None:
    token, _ = tokens.issue(
        actor=system_principal(is_admin=True), environment=cast.production, role="manager", name="ci"
    )
    reasons = {
        user.username: why_not_approver(cast.principal(user), asked, CustodyGraph())
        for user in (cast.alice, cast.erin, cast.root, cast.bob)
    }
    assert reasons == {"alice": "requester", "erin": "", "root": "", "bob": "no approver"}
    assert why_not_approver(token_principal(token), asked, CustodyGraph()) == "program"
    with pytest.raises(Forbidden):
        approvals.approve(actor=cast.principal(cast.alice), approval=asked)
    assert '"reason":"requester"' in events(Action.APPROVAL_DECIDE, outcome="denied")[-1].details


def test_a_manager_of_a_path_approves_nothing(cast: Cast, asked: Approval) -> None:
    Membership.objects.create(environment=cast.production, user=cast.bob, role=Role.MANAGER, prefix="app")
    assert why_not_approver(cast.principal(cast.bob), asked, CustodyGraph()) == "no approver"


def test_a_refused_change_of_a_decided_request_is_an_event(
    cast: Cast, asked: Approval, events: Events
) -> None:
    approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    with pytest.raises(ApprovalVoid, match="approved already"):
        approvals.explain(actor=cast.principal(cast.alice), approval=asked, reason="another", held=False)
    refused = events(Action.APPROVAL_ASK, outcome="denied")[-1]
    assert (refused.actor_name, refused.object_uuid) == ("alice", asked.uuid)
    assert "The request is approved already." in refused.details


def test_a_suspended_administrator_approves_nothing(cast: Cast, asked: Approval) -> None:
    assert cast.root in people_who_decide(asked)
    cast.root.suspended_at = timezone.now()
    cast.root.save()
    root = cast.principal(cast.root)
    assert root.is_admin
    assert cast.root not in people_who_decide(asked)
    for place, reason in ((cast.development, "no approver"), (cast.production, "")):
        confirmed = replace(root, trusted_in=frozenset({place.pk}))
        assert why_not_approver(confirmed, asked, CustodyGraph()) == reason
    with pytest.raises(Forbidden):
        approvals.approve(actor=cast.principal(cast.root), approval=asked)


def test_an_approver_who_is_suspended_meanwhile_approved_nothing(cast: Cast, asked: Approval) -> None:
    approvals.explain(actor=cast.principal(cast.alice), approval=asked, reason="", held=True)
    approved = approvals.approve(actor=cast.principal(cast.root), approval=asked)
    cast.root.suspended_at = timezone.now()
    cast.root.save()
    with pytest.raises(ApprovalVoid):
        approvals.carry_out(actor=cast.principal(cast.alice), approval=approved)


def test_an_approver_who_is_found_to_be_the_requester_meanwhile_approved_nothing(
    cast: Cast, asked: Approval
) -> None:
    approvals.explain(actor=cast.principal(cast.alice), approval=asked, reason="", held=True)
    approved = approvals.approve(actor=cast.principal(cast.root), approval=asked)
    accounts.set_password(actor=cast.principal(cast.root), user=cast.alice, password="another-passphrase-7")
    accounts.set_password(
        actor=cast.principal(cast.alice), user=cast.alice, password="a-passphrase-of-her-own"
    )
    assert approved.state == ApprovalState.APPROVED
    with pytest.raises((ApprovalVoid, Forbidden)):
        approvals.carry_out(actor=cast.principal(cast.alice), approval=approved)
    assert Environment.objects.get(pk=cast.production.pk).protected


def test_one_approval_is_spent_by_one_of_two_acts_at_once(cast: Cast, asked: Approval) -> None:
    approvals.explain(actor=cast.principal(cast.alice), approval=asked, reason="", held=True)
    approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    place = Environment.objects.get(pk=cast.production.pk)
    proposal = weakening(place, {"protected": False})
    # Both have passed the gate before either writes.
    first, second = (require_approval(actor=cast.principal(cast.alice), proposal=proposal) for _ in range(2))
    assert first.consume(place, state=proposal.expected)["approval"] == str(asked.uuid)
    # The second write of the same act finds it consumed, and goes on.
    assert first.consume(place, state=proposal.expected)["approval"] == str(asked.uuid)
    with pytest.raises(ApprovalVoid, match="already applied"):
        second.consume(place, state=proposal.expected)


def test_a_member_whom_the_requester_let_in_is_another_person(cast: Cast, asked: Approval) -> None:
    # A role is no credential.
    cast.production.protected = False
    cast.production.save()
    memberships.grant(
        actor=cast.principal(cast.alice), environment=cast.production, user=cast.bob, role=Role.MANAGER
    )
    cast.production.protected = True
    cast.production.save()
    assert cast.bob in people_who_decide(asked)
