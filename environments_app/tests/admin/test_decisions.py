"""An operator decides about requests in the admin: what is asked, what is done, and who is refused there."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from audit_app.models import AuditEvent
from environments_app.access_requests.service import submit
from environments_app.approvals import service as approvals
from environments_app.environments import memberships
from environments_app.errors import ApprovalNeeded
from environments_app.models import (
    AccessRequest,
    Approval,
    ApprovalState,
    Membership,
    Recipient,
    RequestState,
    Role,
    User,
)
from environments_app.tests.cast import Cast

Events = Callable[..., list[AuditEvent]]


@pytest.fixture
def root(cast: Cast, signed_in: Callable[..., Client]) -> Client:
    """An administrator who manages production, and so may approve there."""
    Membership.objects.create(environment=cast.production, user=cast.root, role=Role.MANAGER)
    return signed_in(cast.root)


@pytest.fixture
def asked(cast: Cast) -> Approval:
    cast.production.protected = True
    cast.production.save()
    with pytest.raises(ApprovalNeeded) as raised:
        memberships.grant(
            actor=cast.principal(cast.alice), environment=cast.production, user=cast.charlie, role="reader"
        )
    return Approval.objects.get(pk=raised.value.approval)


def url(model: str, act: str, pk: int | None = None) -> str:
    name = f"admin:environments_app_{model}_{'object_act' if pk else 'act'}"
    return reverse(name, args=[pk, act] if pk else [act])


def test_a_change_is_shown_approved_and_applied(root: Client, asked: Approval, cast: Cast) -> None:
    path = url("approval", "approve", asked.pk)
    listed = root.get(reverse("admin:environments_app_approval_change", args=[asked.pk])).content.decode()
    assert path in listed
    page = root.get(path).content.decode()
    assert "alice asks to grant access to charlie (production)." in page
    assert not Membership.objects.filter(user=cast.charlie).exists()

    answer = root.post(path, {"comment": "fine"})

    assert "It was applied." in answer.content.decode()
    assert Membership.objects.get(user=cast.charlie).role == "reader"
    stored = Approval.objects.get(pk=asked.pk)
    assert (stored.state, stored.decided_by_name, stored.comment) == (ApprovalState.EXECUTED, "root", "fine")


def test_one_that_was_decided_meanwhile_is_not_decided_again(
    root: Client, asked: Approval, cast: Cast
) -> None:
    path = url("approval", "approve", asked.pk)
    assert root.get(path).status_code == 200
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    approvals.reject(actor=cast.principal(cast.erin), approval=asked)

    answer = root.post(path, {"comment": ""}).content.decode()

    assert "It is refused." in answer
    assert not Membership.objects.filter(user=cast.charlie).exists()
    assert Approval.objects.get(pk=asked.pk).decided_by_name == "erin"


def test_an_administrator_who_could_be_the_requester_is_told_and_refused(
    cast: Cast, signed_in: Callable[..., Client]
) -> None:
    cast.production.protected = True
    cast.production.save()
    Membership.objects.create(environment=cast.production, user=cast.root, role=Role.MANAGER)
    with pytest.raises(ApprovalNeeded) as raised:
        memberships.grant(
            actor=cast.principal(cast.root), environment=cast.production, user=cast.charlie, role="reader"
        )
    answer = signed_in(cast.root).post(url("approval", "approve", raised.value.approval), {"comment": ""})
    assert "It was applied" not in answer.content.decode()
    assert Approval.objects.get(pk=raised.value.approval).state == ApprovalState.PENDING


def test_a_change_is_rejected_with_a_comment(root: Client, asked: Approval) -> None:
    root.post(url("approval", "reject", asked.pk), {"comment": "not before the audit"})
    stored = Approval.objects.get(pk=asked.pk)
    assert (stored.state, stored.comment) == (ApprovalState.REJECTED, "not before the audit")


@pytest.mark.parametrize(
    ("act", "state"), [("approve", RequestState.GRANTED), ("reject", RequestState.REJECTED)]
)
def test_a_request_for_access_is_answered(root: Client, cast: Cast, act: str, state: RequestState) -> None:
    request = submit(
        actor=cast.principal(cast.charlie),
        environment="production",
        role="reader",
        minutes=60,
        reason="deploy",
    )
    page = root.get(url("accessrequest", act, request.pk)).content.decode()
    assert "Reader in production, 1 hour." in page
    assert "deploy" in page
    root.post(url("accessrequest", act, request.pk), {"comment": ""})
    assert AccessRequest.objects.get(pk=request.pk).state == state
    assert Membership.objects.filter(user=cast.charlie).exists() == (state == RequestState.GRANTED)


def test_a_recipient_is_added_where_recipients_are_listed(root: Client, cast: Cast, events: Events) -> None:
    path = url("recipient", "add_recipient")
    assert path in root.get(reverse("admin:environments_app_recipient_changelist")).content.decode()
    root.post(path, {"environment": cast.development.pk, "email": "Ops@example.com"})
    assert Recipient.objects.get().email == "ops@example.com"
    assert [event.actor_name for event in events("notification.create")] == ["root"]


def test_who_only_looks_decides_nothing(
    cast: Cast, asked: Approval, signed_in: Callable[..., Client]
) -> None:
    auditor = User.objects.create_user("audrey", role="auditor")
    client = signed_in(auditor)
    assert client.post(url("approval", "approve", asked.pk), {"comment": ""}).status_code == 403
    assert Approval.objects.get(pk=asked.pk).state == ApprovalState.PENDING


def test_an_empty_list_says_what_belongs_there(root: Client) -> None:
    page = root.get(reverse("admin:environments_app_recipient_changelist")).content.decode()
    assert "No email recipients yet." in page
    assert "0 of 0 selected" not in page
    assert (
        "No email recipients match."
        in root.get(reverse("admin:environments_app_recipient_changelist"), {"q": "x"}).content.decode()
    )


def test_the_empty_list_of_groups_speaks_of_roles_in_environments(root: Client) -> None:
    page = root.get(reverse("admin:auth_group_changelist")).content.decode()
    assert "A group gives its people a role in an environment." in page
    assert "permissions" not in page


def test_a_column_that_sorts_does(root: Client, cast: Cast) -> None:
    for name in ("b@example.com", "a@example.com", "c@example.com"):
        root.post(url("recipient", "add_recipient"), {"environment": cast.development.pk, "email": name})
    listed = reverse("admin:environments_app_recipient_changelist")
    assert 'href="?o=' in root.get(listed).content.decode()
    shown = [row.email for row in root.get(listed, {"o": _column(root, listed)}).context["cl"].result_list]
    assert shown == ["a@example.com", "b@example.com", "c@example.com"]


def _column(root: Client, listed: str) -> str:
    columns = root.get(listed).context["cl"].list_display
    return str([str(getattr(column, "name", column)) for column in columns].index("email"))
