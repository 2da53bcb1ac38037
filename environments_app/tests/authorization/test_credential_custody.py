"""Who may be one person with whom: accounts and tokens that somebody made, or took over."""

from collections.abc import Callable

import pytest

from environments_app.approvals import service as approvals
from environments_app.authentication import mfa
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal, token_principal
from environments_app.environments import memberships
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded, Conflict, Forbidden
from environments_app.models import Approval, Membership, Role, User
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens import service as tokens
from environments_app.users import accounts, suspensions

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]
NEW = "another-long-passphrase"


@pytest.fixture
def protected(cast: Cast) -> Cast:
    """Return the cast, with production protected."""
    cast.production.protected = True
    cast.production.save()
    return cast


def host() -> Principal:
    return system_principal(is_admin=True)


def administrator(actor: Principal, name: str) -> User:
    return accounts.create_user(actor=actor, username=name, role="admin", password=PASSWORD)


def asked(actor: Principal, act: Callable[[], object]) -> Approval:
    with pytest.raises(ApprovalNeeded) as raised:
        act()
    return Approval.objects.select_related("environment").get(pk=raised.value.approval)


def wants_in(cast: Cast, user: User) -> Approval:
    """Let an administrator ask for a role of their own in production."""
    actor = cast.principal(user)
    return asked(
        actor, lambda: memberships.grant(actor=actor, environment=cast.production, user=user, role="editor")
    )


def may(cast: Cast, user: User, approval: Approval) -> bool:
    return approvals.may_approve(cast.principal(user), approval)


def test_who_makes_a_second_administrator_is_not_two_people(protected: Cast) -> None:
    cast = protected
    second = administrator(cast.principal(cast.root), "second")
    third = administrator(cast.principal(second), "third")
    for user in (second, third):
        approval = wants_in(cast, cast.root)
        assert not may(cast, user, approval)
        with pytest.raises(Forbidden):
            approvals.approve(actor=cast.principal(user), approval=approval)
        assert not may(cast, cast.root, wants_in(cast, user))
    # Nor are two whom the same one made.
    assert not may(cast, administrator(cast.principal(cast.root), "fourth"), wants_in(cast, third))
    # One that somebody else made is; so is a manager.
    assert may(cast, administrator(host(), "other"), wants_in(cast, cast.root))
    assert may(cast, cast.alice, wants_in(cast, second))


@pytest.mark.parametrize("way", ["password", "second factor", "account"])
def test_who_took_an_administrators_account_over_is_not_two_people(protected: Cast, way: str) -> None:
    cast = protected
    root, other = cast.principal(cast.root), administrator(host(), "other")
    if way == "password":
        accounts.set_password(actor=root, user=other, password=NEW)
    elif way == "second factor":
        User.objects.filter(pk=other.pk).update()
        mfa.begin(actor=cast.principal(other), user=other)
        factor = other.second_factors.get()
        other.second_factor = factor.uuid
        other.save()
        mfa.remove(actor=root, user=other)
    else:
        accounts.restore_account(actor=root, user=other, role="admin", password=NEW)
    since = User.objects.get(pk=other.pk).suspended_at
    assert since is not None
    suspensions.confirm_account(
        actor=cast.principal(cast.alice), environment=cast.production, user=other, since=since
    )
    # Its manager says that it is in its person's hands, and even so.
    assert not may(cast, other, wants_in(cast, cast.root))
    assert may(cast, other, wants_in(cast, administrator(host(), "third")))


def test_a_change_that_lets_nobody_sign_in_counts_for_nothing(protected: Cast) -> None:
    other = administrator(host(), "other")
    root = protected.principal(protected.root)
    accounts.update_user(actor=root, user=other, email="other@example.com", display_name="O")
    assert may(protected, other, wants_in(protected, protected.root))


def test_who_issued_the_token_that_issued_the_token_does_not_approve_what_it_asks(protected: Cast) -> None:
    cast, place = protected, protected.production
    Membership.objects.create(environment=place, user=cast.erin, role=Role.MANAGER)
    cast.production.protected = False
    cast.production.save()
    first, _ = tokens.issue(actor=cast.principal(cast.alice), environment=place, role="manager", name="first")
    second, _ = tokens.issue(actor=token_principal(first), environment=place, role="manager", name="second")
    place.protected = True
    place.save()
    actor = token_principal(second)
    approval = asked(
        actor,
        lambda: environments.update_environment(actor=actor, environment=place, protected=False),
    )
    assert not may(cast, cast.alice, approval)
    with pytest.raises(Forbidden):
        approvals.approve(actor=cast.principal(cast.alice), approval=approval)
    assert approvals.waiting_for(cast.principal(cast.alice)) == []
    assert may(cast, cast.erin, approval)
    # That alice made erin's account says nothing against a manager.
    assert approvals.waiting_for(cast.principal(cast.erin)) == [approval]


def test_who_replaced_a_password_confirms_it_in_no_protected_environment(protected: Cast) -> None:
    cast, place = protected, protected.production
    Membership.objects.create(environment=place, user=cast.root, role=Role.MANAGER)
    Membership.objects.create(environment=place, user=cast.bob, role=Role.MANAGER)
    helper = administrator(cast.principal(cast.root), "helper")

    def confirm(by: User) -> None:
        since = User.objects.get(pk=cast.bob.pk).suspended_at
        assert since is not None
        suspensions.confirm_account(actor=cast.principal(by), environment=place, user=cast.bob, since=since)

    for taker in (cast.root, helper):
        accounts.set_password(actor=cast.principal(taker), user=cast.bob, password=NEW)
        with pytest.raises(Conflict, match="both people"):
            confirm(cast.root)
        assert cast.principal(cast.bob).suspended
    confirm(cast.alice)
    # Where one person suffices they gain nothing by it.
    accounts.set_password(actor=cast.principal(cast.root), user=cast.bob, password=NEW + "-again")
    place.protected = False
    place.save()
    confirm(cast.root)
