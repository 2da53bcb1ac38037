"""A row that was genuine once and is put back by SQL: it passes its MAC, and verification names it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection

from audit_app.events.actions import Action
from audit_app.integrity import row_state
from environments_app.authorization.rows import access_rows
from environments_app.environments import groups as groups_service
from environments_app.environments import memberships as memberships_service
from environments_app.environments.service import create_environment
from environments_app.models import GroupMember, Membership, ServiceToken, User
from environments_app.tests.cast import Cast
from environments_app.tokens import service as tokens_service
from environments_app.users import accounts

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
Sql = Callable[..., None]


def _row(table: str, pk: int) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} WHERE id = %s", [pk])
        names = [column[0] for column in cursor.description]
        return dict(zip(names, cursor.fetchone(), strict=True))


def _put_back(sql: Sql, table: str, row: dict[str, Any]) -> None:
    sql(f"DELETE FROM {table} WHERE id = %s", row["id"])
    marks = ", ".join(["%s"] * len(row))
    sql(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())


def _found() -> list[tuple[str, str]]:
    return [(problem.kind, problem.object.split()[0]) for problem in access_rows()]


def test_what_nobody_touched_is_sound(cast: Cast) -> None:
    memberships_service.grant(
        actor=cast.principal(cast.alice), environment=cast.development, user=cast.charlie, role="viewer"
    )
    assert _found() == []


def test_it_finds_a_revoked_membership(cast: Cast, sql: Sql) -> None:
    actor = cast.principal(cast.alice)
    granted = memberships_service.grant(
        actor=actor, environment=cast.development, user=cast.charlie, role="editor"
    )
    row = _row("environments_app_membership", granted.pk)
    memberships_service.revoke_membership(actor=actor, membership=Membership.objects.get(pk=granted.pk))
    assert _found() == []
    _put_back(sql, "environments_app_membership", row)
    assert _found() == [("replayed", "membership")]


def test_it_finds_a_role_that_was_taken_down(cast: Cast, sql: Sql) -> None:
    actor = cast.principal(cast.alice)
    granted = memberships_service.grant(
        actor=actor, environment=cast.development, user=cast.charlie, role="editor"
    )
    row = _row("environments_app_membership", granted.pk)
    memberships_service.change_membership(actor=actor, membership=granted, role="viewer")
    _put_back(sql, "environments_app_membership", row)
    assert _found() == [("replayed", "membership")]


def test_a_role_that_is_changed_while_it_is_looked_at_is_no_old_state(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = cast.principal(cast.alice)
    granted = memberships_service.grant(
        actor=actor, environment=cast.development, user=cast.charlie, role="editor"
    )
    read = row_state.latest_digests

    def read_after_a_change(*given: Any, **options: Any) -> Any:
        memberships_service.change_membership(actor=actor, membership=granted, role="viewer")
        return read(*given, **options)

    monkeypatch.setattr(row_state, "latest_digests", read_after_a_change)
    rows = Membership.objects.filter(pk=granted.pk).prefetch_related("environment", "user", "group")
    assert list(row_state.check_rows(rows, "edited", [Action.MEMBER_GRANT, Action.MEMBER_CHANGE])) == []
    assert Membership.objects.get(pk=granted.pk).role == "viewer"


def test_a_role_that_is_taken_away_while_losses_are_looked_for_is_none(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = cast.principal(cast.alice)
    # No role was taken away before: the check does not know such events when it begins.
    granted = memberships_service.grant(
        actor=actor, environment=cast.development, user=cast.charlie, role="editor"
    )
    read = row_state.latest_digests

    def read_before_it_is_taken_away(*given: Any, **options: Any) -> Any:
        found = read(*given, **options)
        for membership in Membership.objects.filter(pk=granted.pk):
            memberships_service.revoke_membership(actor=actor, membership=membership)
        return found

    monkeypatch.setattr(row_state, "latest_digests", read_before_it_is_taken_away)
    assert list(row_state.lost_rows()) == []
    assert not Membership.objects.filter(pk=granted.pk).exists()


def test_it_misses_the_role_that_came_with_an_environment(cast: Cast, sql: Sql) -> None:
    made = create_environment(actor=cast.principal(cast.root), name="new", manager=cast.alice)
    row = Membership.objects.get(environment=made)
    assert list(row_state.lost_rows()) == []
    sql("DELETE FROM environments_app_membership WHERE id = %s", row.pk)
    (problem,) = row_state.lost_rows()
    assert (problem.kind, str(row.uuid) in problem.object) == ("missing", True)


def test_it_finds_a_revoked_token(cast: Cast, sql: Sql) -> None:
    actor = cast.principal(cast.alice)
    token, _ = tokens_service.issue(actor=actor, environment=cast.development, role="reader", name="ci")
    row = _row("environments_app_servicetoken", token.pk)
    tokens_service.revoke(
        actor=actor, token=ServiceToken.objects.select_related("environment").get(pk=token.pk)
    )
    _put_back(sql, "environments_app_servicetoken", row)
    assert _found() == [("replayed", "service-token")]


def test_it_finds_an_account_that_was_disabled(cast: Cast, sql: Sql) -> None:
    row = _row("environments_app_user", cast.bob.pk)
    accounts.disable_user(actor=cast.principal(cast.root), user=User.objects.get(pk=cast.bob.pk))
    assignments = "is_active = %s, row_mac = %s"
    sql(f"UPDATE environments_app_user SET {assignments} WHERE id = %s", 1, row["row_mac"], cast.bob.pk)
    assert _found() == [("replayed", "user")]


def test_it_finds_somebody_who_was_taken_out_of_a_group(cast: Cast, sql: Sql) -> None:
    actor = cast.principal(cast.root)
    group = Group.objects.create(name="ops")
    member = groups_service.add_to_group(actor=actor, user=cast.charlie, group=group)
    row = _row("environments_app_groupmember", member.pk)
    groups_service.remove_from_group(actor=actor, member=GroupMember.objects.get(pk=member.pk))
    assert _found() == []
    _put_back(sql, "environments_app_groupmember", row)
    assert _found() == [("replayed", "group-member")]


def test_it_finds_a_revoked_membership_whose_grant_was_given_a_later_id(cast: Cast, sql: Sql) -> None:
    actor = cast.principal(cast.alice)
    granted = memberships_service.grant(
        actor=actor, environment=cast.development, user=cast.charlie, role="editor"
    )
    row = _row("environments_app_membership", granted.pk)
    memberships_service.revoke_membership(actor=actor, membership=Membership.objects.get(pk=granted.pk))
    _put_back(sql, "environments_app_membership", row)
    sql("UPDATE audit_app_auditevent SET id = id + 1000000 WHERE action = 'member.grant'")
    assert _found() == [("replayed", "membership")]
