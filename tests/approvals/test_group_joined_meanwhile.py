"""The approval of a group's role and a person who joins the group, on two connections at the same time.

One of them waits at a point where it holds the group, and the other begins there. Without the lock both
commit, and the person has a role that nobody approved for them.
"""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group

from environments_app.approvals import applying, gate
from environments_app.approvals import service as approvals
from environments_app.environments import groups, memberships
from environments_app.environments import service as environments
from environments_app.errors import AccessError, ApprovalNeeded, ApprovalVoid, Conflict
from environments_app.models import Approval, ApprovalState, GroupMember, Membership, Role, User
from environments_app.tests.cast import Cast
from secrets_app.tests.at_once import at_once

pytestmark = pytest.mark.every_database
# Without the lock the other's transaction commits well within this time.
OVERLAP_SECONDS = 1.5


@pytest.fixture
def group(cast: Cast) -> Group:
    """A group of bob, without a role in production, which alice and erin manage and which is protected."""
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    found = groups.create_group(actor=cast.principal(cast.root), name="Ops")
    groups.add_to_group(actor=cast.principal(cast.root), user=cast.bob, group=found)
    environments.update_environment(
        actor=cast.principal(cast.alice), environment=cast.production, protected=True
    )
    cast.production.refresh_from_db()
    return found


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> Callable[[object, str], Callable[..., list[Any]]]:
    """Return what runs two works, of which the second begins while the first is inside its transaction."""

    def pause_after(module: object, name: str) -> Callable[..., list[Any]]:
        inside, over = threading.Event(), threading.Event()
        kept = getattr(module, name)
        one = threading.local()

        def paused(*given: Any, **named: Any) -> Any:
            result = kept(*given, **named)
            if getattr(one, "pauses", False) and not inside.is_set():
                inside.set()
                over.wait(timeout=OVERLAP_SECONDS)
            return result

        def run(before: Callable[[], Any], after: Callable[[], Any]) -> list[Any]:
            def begins() -> Any:
                one.pauses = True
                return before()

            def follows() -> Any:
                assert inside.wait(timeout=60)
                try:
                    return after()
                finally:
                    over.set()

            results = at_once(begins, follows)
            assert inside.is_set()
            return results

        monkeypatch.setattr(module, name, paused)
        return run

    return pause_after


def asked(cast: Cast, act: Callable[[], object], *, by: User, held: bool = True) -> Approval:
    with pytest.raises(ApprovalNeeded) as raised:
        act()
    request = fresh(raised.value.approval)
    return approvals.explain(actor=cast.principal(by), approval=request, reason="", held=held)


def approved(cast: Cast, act: Callable[[], object], *, by: User) -> Approval:
    request = asked(cast, act, by=by)
    return approvals.approve(actor=cast.principal(cast.erin), approval=request)


def fresh(pk: int) -> Approval:
    return Approval.objects.select_related("environment").get(pk=pk)


def grant(cast: Cast, group: Group) -> Membership:
    return memberships.grant(
        actor=cast.principal(cast.alice), environment=cast.production, group=group, role="editor"
    )


def join(cast: Cast, group: Group) -> GroupMember:
    return groups.add_to_group(actor=cast.principal(cast.root), user=cast.charlie, group=group)


def carry_out(cast: Cast, request: Approval, by: User) -> Any:
    return approvals.carry_out(actor=cast.principal(by), approval=fresh(request.pk))


def has_role(cast: Cast, group: Group) -> bool:
    """Return whether charlie has what no one approved for them."""
    joined = GroupMember.objects.filter(user=cast.charlie, group=group).exists()
    return joined and Membership.objects.filter(group=group, role=Role.EDITOR).exists()


def test_who_joins_while_the_role_is_given_is_refused(
    transactional_db: None, cast: Cast, group: Group, first: Callable[..., Any]
) -> None:
    request = approved(cast, lambda: grant(cast, group), by=cast.alice)
    # The members were compared a moment ago, and the role is not written yet.
    given, joined = first(gate, "change_since")(
        lambda: carry_out(cast, request, cast.alice), lambda: join(cast, group)
    )
    assert not isinstance(given, BaseException), given
    assert isinstance(joined, Conflict), joined
    assert Membership.objects.get(group=group).role == Role.EDITOR
    assert not has_role(cast, group)


def test_the_role_is_void_while_somebody_joins(
    transactional_db: None, cast: Cast, group: Group, first: Callable[..., Any]
) -> None:
    request = approved(cast, lambda: grant(cast, group), by=cast.alice)
    # The person is a member in a transaction that has not committed yet.
    joined, given = first(groups, "_draft")(
        lambda: join(cast, group), lambda: carry_out(cast, request, cast.alice)
    )
    assert isinstance(joined, GroupMember), joined
    assert isinstance(given, ApprovalVoid), given
    assert "added charlie" in str(given)
    assert not Membership.objects.filter(group=group).exists()
    assert fresh(request.pk).state == ApprovalState.APPROVED


def test_an_approval_applied_at_once_is_void_too_while_somebody_joins(
    transactional_db: None, cast: Cast, group: Group, first: Callable[..., Any]
) -> None:
    request = asked(cast, lambda: grant(cast, group), by=cast.alice, held=False)
    joined, decided = first(groups, "_draft")(
        lambda: join(cast, group),
        lambda: applying.approve_and_apply(actor=cast.principal(cast.erin), approval=fresh(request.pk)),
    )
    assert isinstance(joined, GroupMember), joined
    # The decision sees the member, or the act does; in neither case is the role given.
    assert isinstance(decided, AccessError) or "added charlie" in decided.reason, decided
    assert not Membership.objects.filter(group=group).exists()


def test_an_approved_join_is_refused_while_the_role_grows(
    transactional_db: None, cast: Cast, group: Group, first: Callable[..., Any]
) -> None:
    row = Membership.objects.create(environment=cast.production, group=group, role=Role.READER)

    def widen() -> Membership:
        return memberships.change_membership(
            actor=cast.principal(cast.alice), membership=Membership.objects.get(pk=row.pk), role=Role.EDITOR
        )

    wider = approved(cast, widen, by=cast.alice)
    joining = approved(cast, lambda: join(cast, group), by=cast.root)
    grown, joined = first(gate, "change_since")(
        lambda: carry_out(cast, wider, cast.alice), lambda: carry_out(cast, joining, cast.root)
    )
    assert not isinstance(grown, BaseException), grown
    assert isinstance(joined, AccessError), joined
    assert Membership.objects.get(pk=row.pk).role == Role.EDITOR
    assert not has_role(cast, group)


def test_a_wider_role_is_void_while_an_approved_join_is_applied(
    transactional_db: None, cast: Cast, group: Group, first: Callable[..., Any]
) -> None:
    row = Membership.objects.create(environment=cast.production, group=group, role=Role.READER)

    def widen() -> Membership:
        return memberships.change_membership(
            actor=cast.principal(cast.alice), membership=Membership.objects.get(pk=row.pk), role=Role.EDITOR
        )

    wider = approved(cast, widen, by=cast.alice)
    joining = approved(cast, lambda: join(cast, group), by=cast.root)
    joined, grown = first(groups, "_draft")(
        lambda: carry_out(cast, joining, cast.root), lambda: carry_out(cast, wider, cast.alice)
    )
    assert not isinstance(joined, BaseException), joined
    assert isinstance(grown, ApprovalVoid), grown
    assert Membership.objects.get(pk=row.pk).role == Role.READER
    assert GroupMember.objects.filter(user=cast.charlie, group=group).exists()
