"""The report sections on people: who has access, by which grant, and whether it counts."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from audit_app.queries.reports import Scope, sections
from environments_app.environments import groups
from environments_app.environments.memberships import grant
from environments_app.models import Membership, User, UserRole
from environments_app.tests.cast import Cast
from environments_app.users.accounts import update_user

pytestmark = pytest.mark.every_database


def rows(cast: Cast, key: str = "access", who: User | None = None) -> list[dict[str, Any]]:
    section = sections()[key]
    now = timezone.now()
    scope = Scope(viewer=cast.principal(who or cast.root), since=now - timedelta(days=1), until=now)
    return [dict(zip(section.columns, row, strict=True)) for row in section.rows(scope)]


def of(cast: Cast, name: str) -> dict[str, Any]:
    (row,) = [row for row in rows(cast) if row["Person"] == name]
    return row


def test_members_of_groups_are_listed_one_by_one_with_who_granted_it(cast: Cast) -> None:
    root, alice = cast.principal(cast.root), cast.principal(cast.alice)
    group = groups.create_group(actor=root, name="payments")
    for user in (cast.charlie, cast.vera):
        groups.add_to_group(actor=root, user=user, group=group)
    grant(actor=alice, environment=cast.production, group=group, role="reader", prefix="shop")
    found = [
        row for row in rows(cast) if row["Environment"] == "production" and row["Via"] == "group payments"
    ]
    assert [
        (row["Person"], row["Role"], row["Path prefix"], row["Granted by"], row["State"]) for row in found
    ] == [
        ("charlie", "reader", "shop", "alice", "in force"),
        ("vera", "reader", "shop", "alice", "in force"),
    ]
    # A manager sees the same of the environments that they manage.
    assert [row for row in rows(cast, who=cast.alice) if row["Via"] == "group payments"] == found


def test_a_group_without_members_is_a_row_of_its_own(cast: Cast) -> None:
    group = groups.create_group(actor=cast.principal(cast.root), name="empty")
    grant(actor=cast.principal(cast.alice), environment=cast.production, group=group, role="reader")
    (row,) = [row for row in rows(cast) if row["Via"] == "group empty"]
    assert (row["Person"], row["State"]) == ("", "the group has no members")


def test_the_membership_of_an_auditor_is_not_in_force(cast: Cast) -> None:
    update_user(actor=cast.principal(cast.root), user=cast.bob, role=UserRole.AUDITOR)
    assert of(cast, "bob")["State"] == "auditors see names only"


def test_an_edited_row_and_a_disabled_account_give_nothing(cast: Cast) -> None:
    Membership.objects.filter(user=cast.vera).update(role="manager")
    update_user(actor=cast.principal(cast.root), user=cast.bob, is_active=False)
    assert of(cast, "vera")["State"] == "modified outside Keeper"
    row = of(cast, "bob")
    assert (row["Account"], row["State"]) == ("disabled", "account disabled")


def test_a_viewer_has_access_in_force(cast: Cast) -> None:
    assert of(cast, "vera")["State"] == "in force"


def test_inactive_accounts_and_missing_second_factors_are_shown(cast: Cast) -> None:
    User.objects.filter(pk=cast.bob.pk).update(last_login=timezone.now() - timedelta(days=91))
    row = of(cast, "bob")
    assert (row["Account"], row["Two-factor"]) == ("no sign-in for 90 days", "no")
    assert (of(cast, "erin")["Account"]) == "active"
    people = {row["Username"]: row for row in rows(cast, "people")}
    assert people["bob"]["Account"] == "no sign-in for 90 days"
    assert people["bob"]["Two-factor"] == "no"


def test_the_rows_cost_the_same_statements_for_many_members_as_for_few(
    cast: Cast, django_assert_max_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    counts = []
    group = Group.objects.create(name="many")
    Membership.objects.create(environment=cast.production, group=group, role="reader", prefix="")
    for number in range(2):
        for place in range(1 if number == 0 else 30):
            user = User.objects.create_user(f"user-{number}-{place}")
            groups.add_to_group(actor=cast.principal(cast.root), user=user, group=group)
        with CaptureQueriesContext(connection) as captured:
            rows(cast)
        counts.append(len(captured))
    assert counts[0] == counts[1]
