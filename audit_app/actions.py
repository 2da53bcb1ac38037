"""What can be done: one vocabulary for what is allowed and for what is recorded."""

from enum import StrEnum


class Action(StrEnum):
    """An act that the policy decides on, that the trail records, or both.

    The values are written into the chain and must never change.
    """

    ENVIRONMENT_VIEW = "environment.view"
    ENVIRONMENT_CREATE = "environment.create"
    ENVIRONMENT_UPDATE = "environment.update"
    ENVIRONMENT_DELETE = "environment.delete"

    MEMBER_VIEW = "member.view"
    MEMBER_GRANT = "member.grant"
    MEMBER_CHANGE = "member.change"
    MEMBER_REVOKE = "member.revoke"
    BREAK_GLASS = "member.break_glass"

    TOKEN_VIEW = "token.view"  # noqa: S105 - the names of acts, not credentials
    TOKEN_ISSUE = "token.issue"  # noqa: S105
    TOKEN_CHANGE = "token.change"  # noqa: S105
    TOKEN_REVOKE = "token.revoke"  # noqa: S105

    USER_VIEW = "user.view"
    USER_CREATE = "user.create"
    USER_CHANGE = "user.change"
    GROUP_CHANGE = "group.change"

    SECRET_VIEW = "secret.view"  # noqa: S105
    SECRET_REVEAL = "secret.reveal"  # noqa: S105
    SECRET_EXPORT = "secret.export"  # noqa: S105
    SECRET_COMPARE = "secret.compare"  # noqa: S105
    SECRET_CREATE = "secret.create"  # noqa: S105
    SECRET_UPDATE = "secret.update"  # noqa: S105
    SECRET_ROLLBACK = "secret.rollback"  # noqa: S105
    SECRET_RENAME = "secret.rename"  # noqa: S105
    SECRET_COPY = "secret.copy"  # noqa: S105
    SECRET_MOVE = "secret.move"  # noqa: S105
    SECRET_DELETE = "secret.delete"  # noqa: S105
    SECRET_RESTORE = "secret.restore"  # noqa: S105
    SECRET_PURGE = "secret.purge"  # noqa: S105
    SECRET_IMPORT = "secret.import"  # noqa: S105

    SIGN_IN = "session.sign_in"
    SIGN_OUT = "session.sign_out"
    # Unauthenticated refusals, one event a minute, address and kind.
    REFUSAL = "access.refused"
    INTEGRITY_VIOLATION = "integrity.violation"

    DATA_KEY_CREATE = "data_key.create"
    DATA_KEY_ROTATE = "data_key.rotate"
    DATA_KEY_OPEN = "data_key.open"

    TRAIL_VIEW = "trail.view"
    TRAIL_VERIFY = "trail.verify"
    # Written to the system stream before a stream's first event, so that a stream that is
    # dropped whole is missed.
    STREAM_OPEN = "stream.open"

    CONFIGURATION_CHANGE = "configuration.change"
    DEPLOYMENT_INITIALISE = "deployment.initialise"


class Outcome(StrEnum):
    """How an act ended."""

    ALLOWED = "allowed"
    DENIED = "denied"
    FAILED = "failed"
