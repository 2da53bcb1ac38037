from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from environments_app.authorization.permissions import ADMIN_ACTIONS, ADMIN_TOKEN_ACTIONS, ROLE_ACTIONS
from environments_app.authorization.policy import AuditLogPolicy, Grant, Principal, allows
from environments_app.models import Role

HERE, ELSEWHERE = 1, 2
PLACE = UUID(int=1)

VIEW = {Action.ENVIRONMENT_VIEW, Action.SECRET_VIEW, Action.TARGET_VIEW, Action.ROTATION_VIEW}
READ = {
    Action.SECRET_REVEAL, Action.SECRET_EXPORT, Action.SECRET_COMPARE, Action.SECRET_SHARE, Action.ROTATION_ACKNOWLEDGE,
}  # fmt: skip
WRITE = {
    Action.SECRET_CREATE, Action.SECRET_UPDATE, Action.SECRET_ROLLBACK, Action.SECRET_RENAME, Action.SECRET_COPY,
    Action.SECRET_MOVE, Action.SECRET_DELETE, Action.SECRET_RESTORE, Action.SECRET_IMPORT,
    Action.SECRET_DELIVER, Action.SECRET_PULL, Action.TARGET_PLAN, Action.TARGET_APPLY, Action.TARGET_RESOLVE,
    Action.TARGET_CONNECT, Action.ROTATION_RUN, Action.ROTATION_RESOLVE, Action.ROTATION_CONNECT,
}  # fmt: skip
MANAGE = {
    Action.SECRET_PURGE, Action.SECRET_DESTROY, Action.SECRET_GUARD, Action.SECRET_UNGUARD, Action.SECRET_RELEASE, Action.SECRET_RELEASE_END, Action.SECRET_DECOY_SET, Action.SECRET_DECOY_END, Action.ENVIRONMENT_UPDATE, Action.TRAIL_VIEW,
    Action.ENVIRONMENT_DELETE, Action.ENVIRONMENT_RESTORE,
    Action.MEMBER_VIEW, Action.MEMBER_GRANT, Action.MEMBER_CHANGE, Action.MEMBER_REVOKE,
    Action.TOKEN_VIEW, Action.TOKEN_ISSUE, Action.TOKEN_CHANGE, Action.TOKEN_REVOKE, Action.ACCESS_CONFIRM,
    Action.TRUST_VIEW, Action.TRUST_CREATE, Action.TRUST_CHANGE, Action.TRUST_DELETE, Action.TRUST_TEST,
    Action.TARGET_CREATE, Action.TARGET_CHANGE, Action.TARGET_REMOVE, Action.TARGET_PAUSE, Action.TARGET_TEST,
    Action.TARGET_ADOPT, Action.NOTIFICATION_VIEW, Action.NOTIFICATION_CREATE, Action.NOTIFICATION_REMOVE,
    Action.NOTIFICATION_RETRY, Action.NOTIFICATION_TEST, Action.ROTATION_CREATE, Action.ROTATION_CHANGE, Action.ROTATION_SUSPEND,
    Action.ROTATION_REMOVE, Action.ROTATION_CUT,
    Action.CONSENT_VIEW, Action.CONSENT_GIVE, Action.CONSENT_WITHDRAW,
    Action.APPROVAL_VIEW, Action.APPROVAL_DECIDE,
}  # fmt: skip
EXPECTED = {
    Role.VIEWER: VIEW,
    Role.READER: VIEW | READ,
    Role.EDITOR: VIEW | READ | WRITE,
    Role.MANAGER: VIEW | READ | WRITE | MANAGE,
}
# To end a release takes a value from a program.
VALUES = {action for action in Action if action.startswith("secret.")} - {
    Action.SECRET_VIEW,
    Action.SECRET_RELEASE_END,
}


def principal(
    role: Role | None = None, prefix: str = "", *, admin: bool = False, kind: ActorKind = ActorKind.USER
) -> Principal:
    grants: tuple[Grant, ...] = ()
    if role:
        grants = (
            Grant(
                environment_id=HERE, environment_uuid=PLACE, environment_name="here", role=role, prefix=prefix
            ),
        )
    return Principal(kind=kind, uuid=uuid4(), name="somebody", is_admin=admin, grants=grants)


@pytest.mark.parametrize("role", list(Role))
def test_each_role_permits_what_the_table_says(role: Role) -> None:
    somebody = principal(role)
    assert {a for a in Action if allows(somebody, a, environment_id=HERE, name="a/b")} == EXPECTED[role]
    assert {a for a in Action if allows(somebody, a, environment_id=ELSEWHERE, name="a/b")} == set()
    assert {a for a in Action if allows(somebody, a, environment_id=None)} == set()


def test_each_role_contains_the_one_before() -> None:
    for lower, higher in zip(list(Role), list(Role)[1:], strict=False):
        assert ROLE_ACTIONS[lower] < ROLE_ACTIONS[higher]
        assert lower.rank < higher.rank


def test_nobody_without_a_grant_may_do_anything() -> None:
    assert {a for a in Action if allows(principal(), a, environment_id=HERE, name="a")} == set()


@pytest.mark.parametrize("kind", [ActorKind.USER, ActorKind.TOKEN, ActorKind.SYSTEM])
def test_administrators_neither_read_nor_write_values(kind: ActorKind) -> None:
    root = principal(admin=True, kind=kind)
    assert {a for a in VALUES if allows(root, a, environment_id=HERE, name="a")} == set()
    assert len(VALUES) > 15


def test_administrators_see_names_and_manage_everywhere() -> None:
    root = principal(admin=True)
    for action in (Action.SECRET_VIEW, Action.MEMBER_GRANT, Action.TOKEN_ISSUE, Action.ENVIRONMENT_UPDATE):
        assert allows(root, action, environment_id=ELSEWHERE)
    assert allows(root, Action.USER_CREATE, environment_id=None)
    assert VALUES.isdisjoint(ADMIN_ACTIONS)


def test_a_token_that_administers_manages_no_people() -> None:
    token = principal(admin=True, kind=ActorKind.TOKEN)
    assert allows(token, Action.ENVIRONMENT_CREATE, environment_id=None)
    assert not allows(token, Action.USER_CREATE, environment_id=None)
    assert not allows(token, Action.GROUP_CHANGE, environment_id=None)
    assert ADMIN_TOKEN_ACTIONS < ADMIN_ACTIONS


@pytest.mark.parametrize(
    ("name", "inside"),
    [("pay", True), ("pay/db", True), ("pay/db/x", True), ("payments", False), ("pay-x", False), ("pay0", False), ("Pay/db", False), ("", False), ("x/pay", False)],
)  # fmt: skip
def test_a_prefix_matches_whole_segments(name: str, inside: bool) -> None:
    assert (
        allows(principal(Role.READER, "pay"), Action.SECRET_REVEAL, environment_id=HERE, name=name) is inside
    )


def test_a_grant_for_a_prefix_uses_targets_whose_scope_it_covers() -> None:
    editor = principal(Role.EDITOR, "pay")
    used = {action for action in VIEW | WRITE if action.startswith("target.")}
    for scope, inside in {"pay": used, "pay/db": used, "payments": set(), "": set()}.items():
        assert {a for a in used if allows(editor, a, environment_id=HERE, name=scope)} == inside, scope
    assert len(used) > 3


SEGMENTS = st.lists(st.text("ab-/0.", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join)


@example(prefix="pay", name="payments")
@example(prefix="pay", name="pay")
@example(prefix="pay/db", name="pay")
@example(prefix="pay", name="PAY/db")
@given(prefix=SEGMENTS, name=SEGMENTS)
def test_a_prefix_is_a_list_of_segments_that_begins_the_name(prefix: str, name: str) -> None:
    expected = name.split("/")[: len(prefix.split("/"))] == prefix.split("/")
    assert (
        allows(principal(Role.READER, prefix), Action.SECRET_REVEAL, environment_id=HERE, name=name)
        is expected
    )


def test_a_manager_of_a_prefix_manages_no_environment() -> None:
    # Else somebody let into a corner could let themself into the rest.
    manager = principal(Role.MANAGER, "pay")
    of_the_environment = {a for a in MANAGE if not a.startswith(("secret.", "rotation."))}
    assert {a for a in of_the_environment if allows(manager, a, environment_id=HERE, name="pay")} == set()
    assert len(of_the_environment) > 20


def test_whoever_has_a_part_sees_the_environment() -> None:
    assert allows(principal(Role.VIEWER, "pay"), Action.ENVIRONMENT_VIEW, environment_id=HERE)


def test_the_trail_is_for_managers_and_administrators() -> None:
    readable = AuditLogPolicy().readable_streams
    assert readable(principal(admin=True)) is None
    assert readable(principal(Role.MANAGER)) == [f"environment:{PLACE}"]
    assert readable(principal(Role.MANAGER, "pay")) == []
    assert readable(principal(Role.EDITOR)) == []
