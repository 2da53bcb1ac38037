from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from environments_app.authorization import effective_access as access
from environments_app.authorization.effective_access import AccessPath, explain_access
from environments_app.authorization.policy import allows
from environments_app.authorization.principals import system_principal, user_principal
from environments_app.errors import Forbidden
from environments_app.models import GroupMember, Membership, SamlGroupMapping, ServiceToken, User
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue

pytestmark = pytest.mark.every_database_weekly
NAME = "pay/key"


def ways(cast: Cast, person: str = "", name: str = NAME) -> list[AccessPath]:
    return explain_access(
        actor=cast.principal(cast.alice), environment=cast.development, person=person, name=name
    )


def hindrances(cast: Cast, person: str) -> list[tuple[str, ...]]:
    return [way.hindrances for way in ways(cast, person)]


def test_each_way_is_named_with_what_is_in_it(cast: Cast, sql: Callable[..., None]) -> None:
    group = Group.objects.create(name="eng")
    GroupMember.objects.create(user=cast.charlie, group=group)
    made = Membership.objects.create
    made(environment=cast.development, group=group, role="reader", prefix="pay", granted_by=cast.alice)
    made(environment=cast.development, user=cast.charlie, role="editor", prefix="other")
    made(
        environment=cast.development,
        user=cast.charlie,
        role="editor",
        expires_at=timezone.now(),
        prefix="pay",
    )
    SamlGroupMapping.objects.create(group="okta-ops", environment=cast.development, role="manager")
    # That of another environment grants nothing here.
    SamlGroupMapping.objects.create(group="okta-prod", environment=cast.production, role="manager")
    made(
        environment=cast.development,
        user=cast.charlie,
        role="manager",
        source="saml",
        suspended_at=timezone.now(),
    )
    first, *others = ways(cast, "charlie")
    assert (first.via, first.role, first.prefix, first.granted_by, first.reads) == (
        "group eng", "reader", "pay", "alice", True,
    )  # fmt: skip
    assert {(way.via, way.hindrances) for way in others} == {
        ("direct grant", (access.NOT_COVERED,)),
        ("direct grant", (access.EXPIRED,)),
        ("single sign-on (okta-ops)", (access.SUSPENDED,)),
    }
    assert hindrances(cast, "vera") == [(access.NOT_READING,)]
    assert hindrances(cast, "root") == [(access.BREAKS_GLASS,)]
    assert hindrances(cast, "nobody") == []
    sql("UPDATE environments_app_membership SET role = 'manager' WHERE user_id = %s", cast.vera.pk)
    assert hindrances(cast, "vera") == [(access.FORGED,)]
    User.objects.filter(pk=cast.bob.pk).update(is_active=False)
    assert access.DISABLED in hindrances(cast, "bob")[0]


def test_tokens_are_among_those_who_read(cast: Cast) -> None:
    issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci", prefix="pay"
    )
    gone, _ = issue(actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="old")
    ServiceToken.objects.filter(pk=gone.pk).update(revoked_at=timezone.now())
    found = [way for way in ways(cast) if way.kind == access.TOKEN]
    assert [(way.who, way.reads, way.granted_by) for way in found] == [("ci", True, "alice")]
    assert not [way for way in ways(cast, name="search") if way.who == "ci" and way.reads]


def test_it_says_of_everybody_what_the_policy_says(cast: Cast) -> None:
    """The explanation reads rows by itself: it must never tell another story than the decision."""
    group = Group.objects.create(name="eng")
    soon, over = timezone.now() + timedelta(hours=1), timezone.now() - timedelta(hours=1)
    people = [User.objects.create_user(f"p{number}") for number in range(32)]
    for number, user in enumerate(people):
        # Each combination of role, prefix, end, suspension and state of the account.
        of_group = bool(number & 1)
        if of_group:
            GroupMember.objects.create(user=user, group=group)
        Membership.objects.create(
            environment=cast.development,
            user=user,
            role="reader" if number & 2 else "viewer",
            prefix="pay" if number & 4 else "search",
            expires_at=soon if number & 8 else over,
        )
        user.suspended_at = timezone.now() if number & 16 else None
        user.is_active = number % 5 != 0
        user.save()
    Membership.objects.create(environment=cast.development, group=group, role="reader", prefix="pay/key")
    told = {way.who for way in ways(cast) if way.reads and way.kind == access.PERSON}
    decided = {
        user.username
        for user in User.objects.all()
        if allows(user_principal(user), Action.SECRET_REVEAL, environment_id=cast.development.pk, name=NAME)
    }
    assert told == decided
    assert {"alice", "erin", "bob"} < told
    assert 4 < len(told) < 30


def test_it_is_for_who_manages(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    with pytest.raises(Forbidden):
        explain_access(actor=cast.principal(cast.bob), environment=cast.development)
    assert explain_access(actor=system_principal(is_admin=True), environment=cast.development)
    page = (
        signed_in(cast.alice)
        .get("/environments/development/access?name=pay/key&person=vera")
        .content.decode()
    )
    assert access.NOT_READING in page
    answer = signed_in(cast.root).get("/api/environments/development/access?person=bob&name=pay/key").json()
    assert [(way["who"], way["reads"]) for way in answer["ways"]] == [("bob", True)]


def test_the_page_lists_each_person_once_with_all_their_ways(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    Membership.objects.create(environment=cast.development, user=cast.root, role="reader")
    page = signed_in(cast.alice).get("/environments/development/access?person=root")
    [(reads, held)] = page.context["holders"]
    assert reads
    assert [way.reads for way in held] == [True, False], "the administrator's role alone reads nothing"
    assert page.content.decode().count('rowspan="2"') == 2
