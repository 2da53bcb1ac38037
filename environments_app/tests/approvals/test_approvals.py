"""The command for where nobody is left who could be the second person."""

from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from environments_app.approvals import service as approvals
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded, Forbidden
from environments_app.models import Alert, Approval, Environment, Membership, Role
from environments_app.tests.cast import Cast

pytestmark = pytest.mark.django_db


def test_where_nobody_else_is_left_the_host_approves_and_nothing_else_does(
    cast: Cast, events: Callable[..., list[AuditEvent]]
) -> None:
    Membership.objects.create(environment=cast.production, user=cast.bob, role=Role.EDITOR)
    cast.production.protected = True
    cast.production.save()
    with pytest.raises(ApprovalNeeded) as raised:
        environments.update_environment(
            actor=cast.principal(cast.root), environment=cast.production, protected=False
        )
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    assert Alert.objects.get(kind="approval").subject == "root asks to update environment production"
    with pytest.raises(CommandError, match="alice"):
        call_command("approvals", "approve", str(asked.pk), "--reason", "alone")
    refused = events(Action.APPROVAL_DECIDE, outcome="denied")[-1]
    assert (refused.actor_name, refused.object_uuid) == ("system", asked.uuid)
    assert "Ask one of them instead: alice." in refused.details
    take_away(Membership.objects.filter(environment=cast.production).exclude(role=Role.EDITOR))
    assert not approvals.possible_approvers(asked)
    with pytest.raises(Forbidden):
        approvals.approve_from_host(actor=cast.principal(cast.root), approval=asked, reason="alone")
    out = StringIO()
    call_command("approvals", "list", stdout=out)
    assert "alice" not in out.getvalue()
    call_command("approvals", "approve", str(asked.pk), "--reason", "everybody else left", stdout=out)
    asked.refresh_from_db()
    approvals.carry_out(actor=cast.principal(cast.root), approval=asked)
    assert not Environment.objects.get(pk=cast.production.pk).protected
    assert events("member.break_glass")
    out = StringIO()
    call_command("approvals", "list", stdout=out)
    assert out.getvalue() == "No pending requests.\n"
