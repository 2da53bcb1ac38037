"""The report sections on people: who has access, by which grant, and whether it counts."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from audit_app.integrity.row_authentication import record_integrity_violation
from audit_app.queries.reports import Scope, sections
from environments_app.authorization.principals import system_principal
from environments_app.environments import groups
from environments_app.environments.memberships import grant
from environments_app.models import Membership, ServiceToken, Trust, User, UserRole
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens.service import issue
from environments_app.trusts.sign_in import sign_in
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


def test_only_who_sees_the_installation_sees_all_accounts(cast: Cast) -> None:
    update_user(actor=cast.principal(cast.root), user=cast.bob, is_active=False)
    auditor = User.objects.create_user("ada", role=UserRole.AUDITOR)
    for key, column in (("people", "Username"), ("offboarding", "Username")):
        shown = {
            user.username: {row[column] for row in rows(cast, key, who=user)}
            for user in (cast.root, auditor, cast.alice, cast.erin, cast.charlie)
        }
        assert "bob" in shown["root"] & shown["ada"], key
        assert shown["alice"] == shown["erin"] == shown["charlie"] == set(), key


def test_whose_tokens_and_trusts_one_sees_and_in_which_state(cast: Cast) -> None:
    now, alice = timezone.now(), cast.principal(cast.alice)
    states: dict[str, dict[str, Any]] = {
        "in force": {},
        "expired": {"expires_at": now},
        "suspended": {"suspended_at": now, "expires_at": now},
        "revoked": {"revoked_at": now, "suspended_at": now},
    }
    for state, changes in states.items():
        token, _ = issue(actor=alice, environment=cast.production, role="reader", name=state)
        for name, value in changes.items():
            setattr(token, name, value)
        token.save()
    forged, _ = issue(actor=alice, environment=cast.production, role="reader", name="forged")
    ServiceToken.objects.filter(pk=forged.pk).update(role="manager")
    issue(actor=system_principal(is_admin=True), environment=None, role="admin", name="of all")
    found = {row["Name"]: row["State"] for row in rows(cast, "tokens")}
    assert {name: found[name] for name in states} == {name: name for name in states}
    assert found["forged"].startswith("not written by Keeper")
    assert "of all" in found
    seen = {row["Name"] for row in rows(cast, "tokens", who=cast.alice)}
    assert (seen, rows(cast, "tokens", who=cast.bob)) == ({*states, "forged"}, [])
    signer = Issuer()
    trusts: dict[str, dict[str, Any]] = {
        "in force": {},
        "expired": {"expires_at": now},
        "suspended": {"suspended_at": now, "expires_at": now},
        "disabled": {"disabled_at": now, "suspended_at": now},
    }
    for state, changes in trusts.items():
        trust = make_trust(cast, signer, name=f"t-{state.replace(' ', '-')}")
        for name, value in changes.items():
            setattr(trust, name, value)
        trust.save()
    edited = make_trust(cast, signer, name="edited")
    entered = sign_in(trust_name=edited.name, jwt=signer.sign(), address="192.0.2.7").token
    assert entered.name not in {row["Name"] for row in rows(cast, "tokens")}
    Trust.objects.filter(pk=edited.pk).update(role="editor")
    told = {row["Name"]: row["State"] for row in rows(cast, "trusts")}
    assert {name: told[f"t-{name.replace(' ', '-')}"] for name in trusts} == {name: name for name in trusts}
    assert told["edited"].startswith("not written by Keeper")
    assert rows(cast, "trusts", who=cast.bob) == []


def test_a_credential_is_told_of_its_own_environment_alone(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    for place in (cast.development, cast.production):
        issue(actor=alice, environment=place, role="reader", name=f"ci of {place.name}")
        make_trust(cast, Issuer(), environment=place, name=f"deploy-{place.name}")
    found = [list(row.values()) for row in rows(cast, "hands")]
    told = sorted((place, name) for place, kind, name, _ in found if kind in {"token", "trust"})
    assert told == sorted(
        (place, name)
        for place in ("development", "production")
        for name in (f"ci of {place}", f"deploy-{place}")
    )


def test_a_suspended_account_is_told(cast: Cast) -> None:
    cast.bob.suspended_at = timezone.now()
    cast.bob.save()
    assert of(cast, "bob")["Account"] == "suspended"


def test_a_violation_is_listed_with_the_type_and_the_name_of_what_was_changed(cast: Cast) -> None:
    record_integrity_violation(kind="secret", uuid=cast.root.uuid, name="app/db", reason="edited")
    (found,) = rows(cast, "damage")
    assert (found["Type"], found["Object"]) == ("secret", "app/db")
    assert "edited" in found["Details"]
