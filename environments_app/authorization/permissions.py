"""The table of permissions: what each role permits, and what administrators and auditors may do.

Roles permit acts in an environment. Administrators handle no value; auditors look, and sign reviews.
"""

from types import MappingProxyType
from typing import Final

from audit_app.events.actions import Action
from environments_app.models import Role

_VIEWER: Final = frozenset(
    {Action.ENVIRONMENT_VIEW, Action.SECRET_VIEW, Action.TARGET_VIEW, Action.ROTATION_VIEW}
)
_READER: Final = _VIEWER | {
    Action.SECRET_REVEAL, Action.SECRET_EXPORT, Action.SECRET_COMPARE, Action.SECRET_SHARE,
    Action.ROTATION_ACKNOWLEDGE,
}  # fmt: skip
_EDITOR: Final = _READER | {
    Action.SECRET_CREATE, Action.SECRET_UPDATE, Action.SECRET_ROLLBACK, Action.SECRET_RENAME,
    Action.SECRET_COPY, Action.SECRET_MOVE, Action.SECRET_DELETE, Action.SECRET_RESTORE,
    Action.SECRET_IMPORT, Action.SECRET_DELIVER, Action.SECRET_PULL,
    Action.TARGET_PLAN, Action.TARGET_APPLY, Action.TARGET_RESOLVE, Action.TARGET_CONNECT,
    Action.ROTATION_RUN, Action.ROTATION_RESOLVE, Action.ROTATION_CONNECT,
}  # fmt: skip
_MANAGER: Final = _EDITOR | {
    Action.SECRET_PURGE,
    Action.SECRET_DESTROY,
    Action.SECRET_GUARD,
    Action.SECRET_UNGUARD,
    Action.SECRET_RELEASE,
    Action.SECRET_RELEASE_END,
    Action.SECRET_DECOY_SET,
    Action.SECRET_DECOY_END,
    Action.ENVIRONMENT_UPDATE,
    Action.ENVIRONMENT_DELETE,
    Action.ENVIRONMENT_RESTORE,
    Action.MEMBER_VIEW,
    Action.MEMBER_GRANT,
    Action.MEMBER_CHANGE,
    Action.MEMBER_REVOKE,
    Action.TOKEN_VIEW,
    Action.TOKEN_ISSUE,
    Action.TOKEN_CHANGE,
    Action.TOKEN_REVOKE,
    Action.TRUST_VIEW,
    Action.TRUST_CREATE,
    Action.TRUST_CHANGE,
    Action.TRUST_DELETE,
    Action.TRUST_TEST,
    Action.ACCESS_CONFIRM,
    Action.TRAIL_VIEW,
    Action.NOTIFICATION_VIEW,
    Action.NOTIFICATION_CREATE,
    Action.NOTIFICATION_REMOVE,
    Action.NOTIFICATION_RETRY,
    Action.NOTIFICATION_TEST,
    Action.TARGET_CREATE,
    Action.TARGET_CHANGE,
    Action.TARGET_REMOVE,
    Action.TARGET_PAUSE,
    Action.TARGET_TEST,
    Action.TARGET_ADOPT,
    Action.ROTATION_CREATE,
    Action.ROTATION_CHANGE,
    Action.ROTATION_SUSPEND,
    Action.ROTATION_REMOVE,
    Action.ROTATION_CUT,
    Action.CONSENT_VIEW,
    Action.CONSENT_GIVE,
    Action.CONSENT_WITHDRAW,
    Action.APPROVAL_VIEW,
    Action.APPROVAL_DECIDE,
}
ROLE_ACTIONS: Final = MappingProxyType(
    {Role.VIEWER: _VIEWER, Role.READER: _READER, Role.EDITOR: _EDITOR, Role.MANAGER: _MANAGER}
)

# In every environment and for the installation as a whole; no value is read or written by these.
_OPERATIONS: Final = frozenset(
    {
        Action.ENVIRONMENT_VIEW,
        Action.ENVIRONMENT_CREATE,
        Action.ENVIRONMENT_UPDATE,
        Action.ENVIRONMENT_DELETE,
        Action.ENVIRONMENT_RESTORE,
        Action.MEMBER_VIEW,
        Action.MEMBER_GRANT,
        Action.MEMBER_CHANGE,
        Action.MEMBER_REVOKE,
        Action.TOKEN_VIEW,
        Action.TOKEN_ISSUE,
        Action.TOKEN_CHANGE,
        Action.TOKEN_REVOKE,
        Action.TRUST_VIEW,
        Action.TRUST_CREATE,
        Action.TRUST_CHANGE,
        Action.TRUST_DELETE,
        Action.TRUST_TEST,
        Action.SECRET_VIEW,
        Action.SECRET_RELEASE_END,
        Action.TARGET_VIEW,
        Action.TARGET_PAUSE,
        Action.ROTATION_VIEW,
        Action.ROTATION_SUSPEND,
        Action.CONSENT_VIEW,
        Action.TRAIL_VIEW,
        Action.TRAIL_VERIFY,
        Action.NOTIFICATION_VIEW,
        Action.NOTIFICATION_CREATE,
        Action.NOTIFICATION_REMOVE,
        Action.NOTIFICATION_RETRY,
        Action.NOTIFICATION_TEST,
        Action.APPROVAL_VIEW,
    }
)
ADMIN_ACTIONS: Final = _OPERATIONS | {
    Action.USER_VIEW,
    Action.USER_CREATE,
    Action.USER_CHANGE,
    Action.GROUP_CHANGE,
    Action.SAML_MAPPING_CHANGE,
    Action.SSO_PROVIDER_CHANGE,
    Action.SCIM_CLIENT_CHANGE,
    Action.SINK_CHANGE,
    Action.SINK_TEST,
    Action.SINK_SKIP,
    Action.INTEGRITY_SWEEP,
    Action.SYSTEM_VIEW,
    Action.SCHEDULE_RUN,
    Action.DATA_KEY_CHECK,
    Action.DATA_KEY_ROTATE,
    Action.KEY_MIGRATION_START,
    Action.KEY_MIGRATION_ROLLBACK,
    Action.REPORT_GENERATE,
    Action.REVIEW_START,
    Action.REVIEW_SIGN,
    Action.BACKUP_VIEW,
    Action.BACKUP_CREATE,
    Action.BACKUP_DOWNLOAD,
    Action.RESTORE_RELEASE,
    Action.DEPLOYMENT_ACTIVATE,
    # Of what administrators may do themselves; the approval gate decides.
    Action.APPROVAL_DECIDE,
}
# What auditors look at, no value among it. They hold no grant (`principals`): this set is all that they may.
AUDITOR_ACTIONS: Final = frozenset(
    {
        Action.ENVIRONMENT_VIEW,
        Action.MEMBER_VIEW,
        Action.TOKEN_VIEW,
        Action.TRUST_VIEW,
        Action.SECRET_VIEW,
        Action.TARGET_VIEW,
        Action.ROTATION_VIEW,
        Action.CONSENT_VIEW,
        Action.NOTIFICATION_VIEW,
        Action.APPROVAL_VIEW,
        Action.TRAIL_VIEW,
        Action.TRAIL_VERIFY,
        Action.USER_VIEW,
        Action.SYSTEM_VIEW,
        Action.BACKUP_VIEW,
        Action.REPORT_GENERATE,
        Action.REVIEW_SIGN,
    }
)
# A token that administers manages environments, members and tokens, but no people.
ADMIN_TOKEN_ACTIONS: Final = _OPERATIONS
# An actor with any right in an environment may know that it exists.
ANY_PREFIX: Final = frozenset({Action.ENVIRONMENT_VIEW})
# An actor with these rights on every name in a target's scope has them on the target.
BY_SCOPE: Final = frozenset(action for action in _EDITOR if action.startswith("target."))
# Acts that concern one secret, and so are asked for by its name.
OF_A_SECRET: Final = ("secret.", "rotation.")
