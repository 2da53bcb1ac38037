"""The section of privileged acts: each act is in it, or named as one of the others with a reason."""

from collections import Counter

import pytest

from audit_app.events.actions import Action
from audit_app.queries.reports import PRIVILEGED

# Each other act, by why it is not among them.
ORDINARY = {
    "a look at names, settings or the log": (
        Action.ENVIRONMENT_VIEW, Action.MEMBER_VIEW, Action.TOKEN_VIEW, Action.TRUST_VIEW, Action.USER_VIEW,
        Action.SECRET_VIEW, Action.TARGET_VIEW, Action.ROTATION_VIEW, Action.CONSENT_VIEW,
        Action.NOTIFICATION_VIEW, Action.APPROVAL_VIEW, Action.SYSTEM_VIEW, Action.BACKUP_VIEW,
        Action.TRAIL_VIEW, Action.LEAK_SEARCH, Action.TRAIL_VERIFY, Action.TRAIL_EXPORT, Action.LIST_EXPORT,
        Action.REPORT_GENERATE, Action.REPORT_SEND, Action.TRUST_TEST, Action.TARGET_TEST,
        Action.NOTIFICATION_RETRY, Action.NOTIFICATION_TEST, Action.DATA_KEY_CHECK, Action.BACKUP_VERIFY,
    ),
    "a request or comment, which gives nothing until it is decided": (
        Action.ACCESS_ASK, Action.ACCESS_WITHDRAW, Action.ACCESS_EXPIRE, Action.APPROVAL_ASK,
        Action.APPROVAL_COMMENT, Action.APPROVAL_WITHDRAW, Action.APPROVAL_EXPIRE,
    ),
    "the daily work on single values, by a right that was given": (
        Action.SECRET_REVEAL, Action.SECRET_COMPARE, Action.SECRET_CREATE, Action.SECRET_UPDATE,
        Action.SECRET_ROLLBACK, Action.SECRET_RENAME, Action.SECRET_COPY, Action.SECRET_MOVE,
        Action.SECRET_DELETE, Action.SECRET_RESTORE, Action.SECRET_SHARE_OPEN, Action.SECRET_SHARE_REVOKE, Action.SECRET_SHARE_CODE,
        Action.SECRET_WRAP, Action.SECRET_UNWRAP, Action.SECRET_WRAP_REVOKE, Action.SECRET_MIGRATE,
        Action.SECRET_IMPORT, Action.SECRET_INVENTORY, Action.ROTATION_ACKNOWLEDGE,
        Action.NOTIFICATION_CHOOSE,
    ),
    "the work of the sync, of rotations and of schedules, by what a person set up": (
        Action.SECRET_DELIVER, Action.SECRET_PULL, Action.SECRET_STAGE, Action.SECRET_ROTATE,
        Action.SECRET_UNSTAGE, Action.TARGET_PAUSE, Action.TARGET_REQUEST, Action.TARGET_PLAN,
        Action.TARGET_APPLY, Action.TARGET_CONNECT, Action.MIGRATION_PLAN, Action.MIGRATION_APPLY,
        Action.MIGRATION_STOP, Action.MIGRATION_CONNECT, Action.TARGET_ALERT, Action.ROTATION_RUN,
        Action.ROTATION_RESOLVE, Action.ROTATION_CUT, Action.ROTATION_CONNECT, Action.ROTATION_STEP,
        Action.ROTATION_ALERT, Action.NOTIFICATION_SEND, Action.APPROVAL_OPEN, Action.SCHEDULE_RUN,
        Action.BACKUP_REQUEST, Action.BACKUP_CREATE, Action.BACKUP_FINISH, Action.DATA_KEY_CREATE,
        Action.DATA_KEY_OPEN, Action.TRUST_PURGE, Action.SECRET_WRAP_PURGE, Action.STREAM_OPEN, Action.SYSTEM_CHECK,
        Action.PROCESS_RESTART, Action.INTEGRITY_SWEEP, Action.SINK_TEST,
    ),
    "a sign-in, or the end of a session": (
        Action.SIGN_IN, Action.SIGN_OUT, Action.SESSION_END, Action.SESSION_CONFIRM, Action.TRUST_SIGN_IN,
    ),
    "a record beside that of the act itself": (Action.CONFIGURATION_CHANGE,),
    "a section of its own": (Action.REFUSAL, Action.INTEGRITY_VIOLATION),
}  # fmt: skip


def test_each_act_is_privileged_or_named_as_ordinary_once() -> None:
    named = Counter([*PRIVILEGED, *(action for actions in ORDINARY.values() for action in actions)])
    assert set(Action) - named.keys() == set()
    assert {action: count for action, count in named.items() if count > 1} == {}


@pytest.mark.parametrize(
    "words", ["member.", "trust.", "target.", "group.", "saml", "token.", "environment."]
)
def test_what_gives_or_changes_is_privileged(words: str) -> None:
    ends = ("grant", "create", "change", "update", "revoke", "delete", "remove", "issue")
    acts = {action for action in Action if action.startswith(words) and action.endswith(ends)}
    assert acts
    assert acts <= PRIVILEGED


def test_no_look_is_privileged() -> None:
    assert not {action for action in PRIVILEGED if action.endswith((".view", ".test", ".reveal"))}
