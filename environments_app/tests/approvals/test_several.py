"""Several people approve where an environment needs it, and both sides of a request talk about it."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from environments_app.approvals import applying, history
from environments_app.approvals import service as approvals
from environments_app.approvals.approvers import approvals_given, approvals_that_count, lapsed_names
from environments_app.approvals.group_members import change_since
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Conflict, Forbidden, InvalidField, Invisible
from environments_app.models import (
    Approval,
    ApprovalEntry,
    ApprovalState,
    Delivery,
    Environment,
    Membership,
    Role,
    User,
)
from environments_app.tests.cast import Cast
from environments_app.users import accounts
from environments_app.users.password_links import invite_new

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
SignedIn = Callable[[User], Client]
Events = Callable[..., list[AuditEvent]]


@pytest.fixture
def asked(cast: Cast) -> Approval:
    """A request of alice in production, which erin, bob and vera manage too; two people must approve."""
    for user in (cast.erin, cast.bob, cast.vera):
        Membership.objects.create(environment=cast.production, user=user, role=Role.MANAGER)
    environments.update_environment(
        actor=cast.principal(cast.alice), environment=cast.production, protected=True, approvals_required=2
    )
    return ask(cast.principal(cast.alice), protected=False)


def ask(actor: Principal, **changes: Any) -> Approval:
    place = Environment.objects.get(name="production")
    with pytest.raises(ApprovalNeeded) as raised:
        environments.update_environment(actor=actor, environment=place, **changes)
    return fresh(raised.value.approval)


def fresh(pk: int) -> Approval:
    return Approval.objects.select_related("environment").get(pk=pk)


def test_it_is_applied_after_the_last_of_several_people(cast: Cast, asked: Approval, events: Events) -> None:
    erin, bob = cast.principal(cast.erin), cast.principal(cast.bob)
    first = applying.approve_and_apply(actor=erin, approval=asked, comment="fine")
    assert (first.approval.state, first.done) == (ApprovalState.PENDING, False)
    assert "1 of 2" in events("approval.decide")[-1].details
    with pytest.raises(Conflict, match="different person"):
        approvals.approve(actor=erin, approval=fresh(asked.pk))
    with pytest.raises(Forbidden):
        approvals.approve(actor=cast.principal(cast.alice), approval=fresh(asked.pk))
    assert approvals.possible_approvers(asked) == ["bob", "root", "vera"]
    assert approvals.waiting_for(erin) == []
    assert [row.pk for row in approvals.waiting_for(bob)] == [asked.pk]
    assert applying.approve_and_apply(actor=bob, approval=fresh(asked.pk)).done
    assert not Environment.objects.get(pk=cast.production.pk).protected
    assert '"approved_by":"erin, bob"' in events("environment.update")[-1].details.replace(": ", ":")
    assert [(entry.author_name, entry.text) for entry in history.entries_of(asked)] == [
        ("erin", "fine"),
        ("bob", ""),
    ]


def test_each_approval_counts_while_its_person_could_still_give_it(
    cast: Cast, asked: Approval, events: Events
) -> None:
    approvals.explain(actor=cast.principal(cast.alice), approval=asked, reason="", held=True)
    for user in (cast.erin, cast.bob):
        approvals.approve(actor=cast.principal(user), approval=fresh(asked.pk))
    take_away(Membership.objects.filter(environment=cast.production, user=cast.erin))
    with pytest.raises(ApprovalVoid):
        approvals.carry_out(actor=cast.principal(cast.alice), approval=fresh(asked.pk))
    (event,) = events("approval.carry_out")
    assert (event.outcome, "Request approval again" in event.details) == ("failed", True)


def leave(cast: Cast, user: User) -> None:
    accounts.update_user(actor=cast.principal(cast.root), user=user, is_active=False)


def test_an_approval_of_somebody_who_left_is_given_again_by_another(
    cast: Cast, asked: Approval, signed_in: SignedIn, events: Events
) -> None:
    erin, bob, vera = (cast.principal(user) for user in (cast.erin, cast.bob, cast.vera))
    approvals.approve(actor=erin, approval=asked)
    page = signed_in(cast.alice)
    assert "1 of 2 given" in page.get(f"/approvals/{asked.pk}").content.decode()
    leave(cast, cast.erin)
    assert "0 of 2 given" in page.get(f"/approvals/{asked.pk}").content.decode()
    first = applying.approve_and_apply(actor=bob, approval=fresh(asked.pk))
    assert (first.approval.state, first.done) == (ApprovalState.PENDING, False)
    assert '"approvals":"1 of 2"' in events("approval.decide")[-1].details.replace(": ", ":")
    assert applying.approve_and_apply(actor=vera, approval=fresh(asked.pk)).done
    assert '"approved_by":"bob, vera"' in events("environment.update")[-1].details.replace(": ", ":")


def test_who_is_suspended_in_place_of_an_end_has_approved_nothing(cast: Cast, asked: Approval) -> None:
    approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    assert [*approvals_given(asked)] == [cast.erin.uuid]
    # What a SCIM client does to the last administrator.
    accounts.record_user(cast.principal(cast.root), cast.erin, {"suspended": True})
    assert approvals_given(asked) == {}


def test_nothing_lapses_once_a_request_is_over(cast: Cast, asked: Approval) -> None:
    for user in (cast.erin, cast.bob):
        applying.approve_and_apply(actor=cast.principal(user), approval=fresh(asked.pk))
    leave(cast, cast.erin)
    over = fresh(asked.pk)
    assert over.state == ApprovalState.EXECUTED
    assert (lapsed_names(over), [*approvals_given(over)]) == ([], [cast.erin.uuid, cast.bob.uuid])


def test_an_approver_who_leaves_while_another_decides_counts_no_more(
    cast: Cast, asked: Approval, monkeypatch: pytest.MonkeyPatch
) -> None:
    approvals.approve(actor=cast.principal(cast.erin), approval=asked)

    def meanwhile(arguments: dict[str, object], environment: Environment) -> str:
        cast.erin.is_active = False
        cast.erin.save()
        return change_since(arguments, environment)

    monkeypatch.setattr(approvals, "change_since", meanwhile)
    approvals.approve(actor=cast.principal(cast.bob), approval=fresh(asked.pk))
    assert fresh(asked.pk).state == ApprovalState.PENDING


def test_who_comes_back_does_not_count_beside_their_other_account(cast: Cast, asked: Approval) -> None:
    second = accounts.create_user(actor=cast.principal(cast.root), username="roots-other")
    Membership.objects.create(environment=cast.production, user=second, role=Role.MANAGER)
    approvals.approve(actor=cast.principal(second), approval=asked)
    leave(cast, second)
    # The account of the same person takes the place of the one that left.
    approvals.approve(actor=cast.principal(cast.root), approval=fresh(asked.pk))
    accounts.update_user(actor=cast.principal(cast.root), user=second, is_active=True)
    assert len(approvals_that_count(fresh(asked.pk))) == 1
    with pytest.raises(Conflict, match="different person"):
        approvals.approve(actor=cast.principal(second), approval=fresh(asked.pk))
    approvals.approve(actor=cast.principal(cast.bob), approval=fresh(asked.pk))
    assert fresh(asked.pk).state == ApprovalState.APPROVED


def test_two_accounts_of_one_person_are_one_approval(cast: Cast, asked: Approval, events: Events) -> None:
    second = accounts.create_user(actor=cast.principal(cast.root), username="roots-other")
    Membership.objects.create(environment=cast.production, user=second, role=Role.MANAGER)
    approvals.approve(actor=cast.principal(cast.root), approval=asked)
    with pytest.raises(Conflict, match="different person"):
        approvals.approve(actor=cast.principal(second), approval=fresh(asked.pk))
    event = events("approval.decide")[-1]
    assert (event.outcome, event.actor_name) == ("denied", "roots-other")
    assert "different person" in event.details


def test_two_approvals_are_one_once_one_person_could_have_given_both(
    cast: Cast, asked: Approval, settings: Settings
) -> None:
    settings.EMAIL_HOST, settings.KEEPER_URL = "mail.example.com", "https://keeper.example.com"
    nina = invite_new(actor=system_principal(is_admin=True), username="nina", email="nina@example.com")
    Membership.objects.create(environment=cast.production, user=nina, role=Role.MANAGER)
    approvals.explain(actor=cast.principal(cast.alice), approval=asked, reason="", held=True)
    for user in (cast.root, nina):
        approvals.approve(actor=cast.principal(user), approval=fresh(asked.pk))
    assert fresh(asked.pk).state == ApprovalState.APPROVED
    # The address to which the invitation of one approver goes is that of the other from now on.
    accounts.update_user(actor=cast.principal(cast.root), user=nina, email="root@example.com")
    assert not cast.principal(nina).suspended
    assert len(approvals_that_count(fresh(asked.pk))) == 1
    with pytest.raises(ApprovalVoid):
        approvals.carry_out(actor=cast.principal(cast.alice), approval=fresh(asked.pk))
    assert Environment.objects.get(pk=cast.production.pk).protected


def test_a_planted_or_edited_approval_counts_for_nothing(cast: Cast, asked: Approval) -> None:
    approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    ApprovalEntry.objects.update(author_uuid=cast.vera.uuid)
    approvals.approve(actor=cast.principal(cast.bob), approval=fresh(asked.pk))
    assert fresh(asked.pk).state == ApprovalState.PENDING


def test_one_rejection_ends_the_request(cast: Cast, asked: Approval) -> None:
    approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    approvals.reject(actor=cast.principal(cast.bob), approval=fresh(asked.pk))
    assert fresh(asked.pk).state == ApprovalState.REJECTED


def test_fewer_approvals_need_approval_and_more_need_people(cast: Cast, asked: Approval) -> None:
    alice = cast.principal(cast.alice)
    lower = ask(alice, approvals_required=1)
    assert lower.pk != asked.pk
    place = Environment.objects.get(pk=cast.production.pk)
    environments.update_environment(actor=alice, environment=place, approvals_required=3)
    place.refresh_from_db()
    # root is the fifth who could be one of them.
    for number, error in ((5, InvalidField), (6, (InvalidField, ValidationError))):
        with pytest.raises(error):
            environments.update_environment(actor=alice, environment=place, approvals_required=number)
    Environment.objects.filter(pk=place.pk).update(approvals_required=None)
    assert not Environment.objects.get(pk=place.pk).is_authentic()


def test_the_pages_name_people_as_they_call_themselves(
    cast: Cast, asked: Approval, signed_in: SignedIn
) -> None:
    User.objects.filter(pk=cast.alice.pk).update(display_name="Alice Ng")
    page = signed_in(cast.alice)
    page.post(f"/approvals/{asked.pk}/comment", {"text": "Ticket OPS-4"})
    named = 'alice <span class="quiet">Alice Ng</span>'
    assert page.get("/approvals").content.decode().count(named) == 1
    # As the requester, and as the author of the comment.
    assert page.get(f"/approvals/{asked.pk}").content.decode().count(named) == 2


def test_comments_reach_the_other_side_and_the_log_has_no_text(
    cast: Cast, asked: Approval, signed_in: SignedIn, events: Events
) -> None:
    for user in (cast.alice, cast.erin):
        user.email = f"{user.username}@example.com"
        user.save()
    Delivery.objects.all().delete()
    signed_in(cast.alice).post(f"/approvals/{asked.pk}/comment", {"text": "Ticket <b>OPS-4</b>"})
    assert {row.addressee for row in Delivery.objects.all()} == {cast.erin.uuid}
    assert "OPS-4" not in events("approval.comment")[0].details
    page = signed_in(cast.erin).get(f"/approvals/{asked.pk}").content.decode()
    assert "Ticket &lt;b&gt;OPS-4&lt;/b&gt;" in page
    assert "commented" in signed_in(cast.erin).get(reverse("notices")).content.decode()
    signed_in(cast.erin).post(f"/approvals/{asked.pk}/comment", {"text": "Why now?"})
    assert cast.alice.uuid in {row.addressee for row in Delivery.objects.all()}
    assert "Why now?" in signed_in(cast.alice).get(reverse("notices")).content.decode()


def test_who_takes_no_part_cannot_comment_and_a_closed_request_takes_none(
    cast: Cast, asked: Approval
) -> None:
    for text in ("", "x" * (history.MAX_TEXT + 1)):
        with pytest.raises(InvalidField):
            history.comment(actor=cast.principal(cast.alice), approval=asked, text=text)
    with pytest.raises((Forbidden, Invisible)):
        history.comment(actor=cast.principal(cast.charlie), approval=asked, text="hello")
    approvals.withdraw(actor=cast.principal(cast.alice), approval=asked)
    with pytest.raises(ApprovalVoid):
        history.comment(actor=cast.principal(cast.alice), approval=fresh(asked.pk), text="hello")


def bell(page: Client) -> int:
    """Return how much the bell of a page counts as new."""
    return int(page.get("/profile").context["frame"].notices)


def test_the_api_lists_and_adds_comments_and_they_ring_the_bell_of_all_concerned(
    cast: Cast, asked: Approval, signed_in: SignedIn
) -> None:
    url = f"/api/approvals/{asked.pk}/comments"
    alice, erin, bob = (signed_in(user) for user in (cast.alice, cast.erin, cast.bob))
    approvals.approve(actor=cast.principal(cast.bob), approval=asked, comment="fine")
    rung = {page: bell(page) for page in (alice, erin, bob)}
    answer = erin.post(url, {"text": "Why now?"}, content_type="application/json")
    assert (answer.status_code, answer.json()["author"]) == (201, "erin")
    # The requester, and one who approved already; not the writer.
    assert [bell(page) - rung[page] for page in (alice, erin, bob)] == [1, 0, 1]
    listed = [(entry["kind"], entry["text"]) for entry in alice.get(url).json()["results"]]
    assert listed == [("approval", "fine"), ("comment", "Why now?")]
    assert erin.post(url, {"text": ""}, content_type="application/json").status_code == 400
    assert signed_in(cast.charlie).get(url).status_code == 404


def test_who_can_no_longer_see_a_request_gets_no_comments_on_it(
    cast: Cast, asked: Approval, signed_in: SignedIn
) -> None:
    for user in (cast.erin, cast.bob):
        user.email = f"{user.username}@example.com"
        user.save()
    history.comment(actor=cast.principal(cast.bob), approval=asked, text="first")
    assert "first" in signed_in(cast.erin).get(reverse("notices")).content.decode()
    take_away(cast.bob.memberships.all())
    Delivery.objects.all().delete()
    history.comment(actor=cast.principal(cast.alice), approval=asked, text="second")
    assert {row.addressee for row in Delivery.objects.all()} == {cast.erin.uuid}
    assert "second" not in signed_in(cast.bob).get(reverse("notices")).content.decode()


def test_neither_a_comment_nor_an_approval_of_another_request_is_one_of_several(
    cast: Cast, asked: Approval
) -> None:
    alice, erin, bob = (cast.principal(user) for user in (cast.alice, cast.erin, cast.bob))
    other = ask(alice, approvals_required=1)
    assert other.pk != asked.pk
    history.comment(actor=erin, approval=asked, text="fine by me")
    approvals.approve(actor=erin, approval=other)
    assert approvals_given(asked) == {}
    assert approvals_given(other) == {cast.erin.uuid: "erin"}
    assert history.approved_by(erin, [asked, other]) == {other.pk}
    assert history.approved_by(bob, [asked, other]) == set()
    assert [row.pk for row in approvals.waiting_for(erin)] == [asked.pk]
    approvals.approve(actor=bob, approval=asked)
    assert fresh(asked.pk).state == ApprovalState.PENDING
    assert [entry.kind for entry in history.entries_of(asked)] == ["comment", "approval"]
    # Who commented is still asked, and is the second.
    approvals.approve(actor=erin, approval=fresh(asked.pk))
    assert fresh(asked.pk).state == ApprovalState.APPROVED


def test_comments_are_limited_in_length_and_number(
    cast: Cast, asked: Approval, monkeypatch: pytest.MonkeyPatch
) -> None:
    erin, alice = cast.principal(cast.erin), cast.principal(cast.alice)
    longest = "x" * approvals.MAX_COMMENT
    acts: tuple[Callable[[str], object], ...] = (
        lambda text: approvals.approve(actor=erin, approval=asked, comment=text),
        lambda text: approvals.reject(actor=erin, approval=asked, comment=text),
        lambda text: approvals.explain(actor=alice, approval=asked, reason=text),
    )
    for act in acts:
        with pytest.raises(InvalidField):
            act(longest + "x")
    assert fresh(asked.pk).state == ApprovalState.PENDING
    assert history.entries_of(asked) == []
    assert approvals.explain(actor=alice, approval=asked, reason=longest).reason == longest
    history.comment(actor=erin, approval=asked, text="x" * history.MAX_TEXT)
    monkeypatch.setattr(history, "_MOST_ENTRIES", 2)
    history.comment(actor=alice, approval=asked, text="x")
    with pytest.raises(ApprovalVoid, match="no more comments"):
        history.comment(actor=alice, approval=asked, text="x")
    approvals.reject(actor=erin, approval=asked, comment=longest)
    assert fresh(asked.pk).comment == longest


def test_the_host_approves_with_a_reason(cast: Cast, asked: Approval) -> None:
    host = system_principal(is_admin=True)
    with pytest.raises(InvalidField, match="reason"):
        approvals.approve_from_host(actor=host, approval=asked, reason="  ")
    with pytest.raises(Conflict, match="Ask one of them"):
        approvals.approve_from_host(actor=host, approval=asked, reason="alone")
    with pytest.raises(Forbidden):
        approvals.approve_from_host(actor=system_principal(), approval=asked, reason="alone")


@pytest.mark.parametrize("over", [False, True])
def test_the_host_approves_what_is_open_alone(
    cast: Cast, asked: Approval, over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approvals, "possible_approvers", lambda _: [])
    if over:
        approvals.withdraw(actor=cast.principal(cast.alice), approval=asked)
    before = fresh(asked.pk).state
    with pytest.raises(ApprovalVoid) if over else nullcontext():
        approvals.approve_from_host(actor=system_principal(is_admin=True), approval=asked, reason="alone")
    assert fresh(asked.pk).state == (before if over else ApprovalState.APPROVED)
    assert AuditEvent.objects.filter(action=Action.BREAK_GLASS).exists() is not over


@pytest.mark.parametrize("gone", ["inactive", "reader", "elsewhere", "forged"])
def test_who_cannot_decide_any_more_is_no_possible_approver(
    cast: Cast, asked: Approval, gone: str, sql: Callable[..., None]
) -> None:
    assert approvals.possible_approvers(asked) == ["bob", "erin", "root", "vera"]
    membership = Membership.objects.get(environment=cast.production, user=cast.erin)
    if gone == "inactive":
        cast.erin.is_active = False
        cast.erin.save()
    elif gone == "reader":
        membership.role = Role.READER
        membership.save()
    elif gone == "elsewhere":
        take_away(Membership.objects.filter(pk=membership.pk))
        Membership.objects.filter(environment=cast.development, user=cast.erin).update(role=Role.MANAGER)
    else:
        sql("UPDATE environments_app_membership SET prefix = 'x' WHERE id = %s", membership.pk)
    assert approvals.possible_approvers(asked) == ["bob", "root", "vera"]
    with pytest.raises((Forbidden, Invisible)):
        approvals.approve(actor=cast.principal(cast.erin), approval=asked)
