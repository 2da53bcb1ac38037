"""Requests that an approver cannot approve: the pages and the API say why, such as that a person has left."""

from collections.abc import Callable

import pytest
from django.test import Client

from environments_app.access_requests import decisions
from environments_app.access_requests import service as access_requests
from environments_app.approvals import applying
from environments_app.approvals import service as approvals
from environments_app.environments import groups, memberships
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Conflict
from environments_app.models import Approval, ApprovalState, Delivery, GroupMember, Membership, Role, User
from environments_app.tests.cast import Cast
from environments_app.users import accounts

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]


@pytest.fixture(autouse=True)
def protected(cast: Cast) -> None:
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    cast.production.protected = True
    cast.production.save()


def grants(cast: Cast) -> None:
    memberships.grant(
        actor=cast.principal(cast.alice), environment=cast.production, user=cast.charlie, role="reader"
    )


def widens(cast: Cast) -> None:
    row = Membership.objects.get_or_create(
        environment=cast.production, user=cast.charlie, defaults={"role": Role.VIEWER}
    )[0]
    memberships.change_membership(actor=cast.principal(cast.alice), membership=row, role="reader")


def lets_in(cast: Cast) -> None:
    asked = access_requests.submit(
        actor=cast.principal(cast.charlie), environment="production", role="editor"
    )
    decisions.approve(actor=cast.principal(cast.alice), request=asked)


def asked(act: Callable[[Cast], object], cast: Cast) -> Approval:
    with pytest.raises(ApprovalNeeded) as raised:
        act(cast)
    return fresh(raised.value.approval)


def fresh(pk: int) -> Approval:
    return Approval.objects.select_related("environment").get(pk=pk)


def end(cast: Cast, *, active: bool = False) -> None:
    user = User.objects.get(pk=cast.charlie.pk)
    accounts.update_user(actor=cast.principal(cast.root), user=user, is_active=active)


@pytest.mark.parametrize("act", [grants, widens, lets_in])
def test_nothing_is_approved_for_who_has_left_and_the_asker_is_told(
    cast: Cast, signed_in: SignedIn, act: Callable[[Cast], None]
) -> None:
    request = asked(act, cast)
    before = [*Membership.objects.filter(user=cast.charlie).values_list("role", flat=True)]
    end(cast)
    told = "The account of charlie is disabled"
    for user in (cast.alice, cast.erin):
        page = signed_in(user).get(f"/approvals/{request.pk}").content.decode()
        assert told in page, user
        assert "Approve and apply" not in page
    # Rejecting it stays possible.
    assert f"/approvals/{request.pk}/refuse" in page
    said = signed_in(cast.erin).post(f"/approvals/{request.pk}/approve", follow=True).content.decode()
    assert f"{told}, so nothing is granted" in said
    assert fresh(request.pk).state == ApprovalState.PENDING
    assert [*Membership.objects.filter(user=cast.charlie).values_list("role", flat=True)] == before
    message = Delivery.objects.get(subject__startswith="erin could not approve your request")
    assert (message.addressee, told in message.lines[0]) == (cast.alice.uuid, True)
    # The account is back, and so is the request.
    end(cast, active=True)
    assert applying.approve_and_apply(actor=cast.principal(cast.erin), approval=fresh(request.pk)).done


def test_what_was_approved_before_is_not_applied_after(cast: Cast, signed_in: SignedIn) -> None:
    request = asked(grants, cast)
    approvals.explain(actor=cast.principal(cast.alice), approval=request, reason="", held=True)
    approvals.approve(actor=cast.principal(cast.erin), approval=fresh(request.pk))
    end(cast)
    assert "The account of charlie is disabled" in (
        signed_in(cast.alice).get(f"/approvals/{request.pk}").content.decode()
    )
    with pytest.raises(ApprovalVoid, match="The account of charlie is disabled"):
        approvals.carry_out(actor=cast.principal(cast.alice), approval=fresh(request.pk))
    assert not Membership.objects.filter(user=cast.charlie).exists()


def test_nobody_asks_for_a_disabled_account(cast: Cast) -> None:
    end(cast)
    cast.charlie.refresh_from_db()
    with pytest.raises(Conflict, match="The account of charlie is disabled"):
        grants(cast)
    assert not Approval.objects.exists()


def test_who_has_left_joins_no_group_by_an_approval(cast: Cast) -> None:
    root = cast.principal(cast.root)
    group = groups.create_group(actor=root, name="Ops")
    Membership.objects.create(environment=cast.production, group=group, role=Role.READER)
    request = asked(lambda cast: groups.add_to_group(actor=root, user=cast.charlie, group=group), cast)
    end(cast)
    with pytest.raises(ApprovalVoid, match="The account of charlie is disabled"):
        approvals.approve(actor=cast.principal(cast.erin), approval=request)
    assert not GroupMember.objects.exists()


def test_the_api_says_why_an_approver_may_not_decide_about_a_request(cast: Cast, signed_in: SignedIn) -> None:
    own = asked(grants, cast)
    answer = signed_in(cast.alice).post(f"/api/approvals/{own.pk}/approve", content_type="application/json")
    assert (answer.status_code, answer.json()["detail"]) == (
        403,
        "Another manager of the environment must review this request.",
    )
    puppet = accounts.create_user(actor=cast.principal(cast.root), username="puppet")
    for user in (puppet, cast.root):
        Membership.objects.create(environment=cast.production, user=user, role=Role.MANAGER)
    with pytest.raises(ApprovalNeeded) as raised:
        memberships.grant(
            actor=cast.principal(cast.root), environment=cast.production, user=cast.bob, role="reader"
        )
    address = f"/api/approvals/{raised.value.approval}/approve"
    answer = signed_in(puppet).post(address, content_type="application/json")
    assert answer.status_code == 403
    assert "You could have made this request as well" in answer.json()["detail"]
