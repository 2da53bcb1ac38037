"""What can be done: one vocabulary for what is allowed and for what is recorded."""

from enum import StrEnum
from typing import Final


class Action(StrEnum):
    """An act that the policy decides on, that the audit log records, or both.

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
    # A temporary membership has expired.
    MEMBER_EXPIRE = "member.expire"
    BREAK_GLASS = "member.break_glass"
    # Another person could sign in as a member, or an administrator mapped a group: the grant shows no value
    # until a manager confirms it.
    ACCESS_SUSPEND = "access.suspend"
    ACCESS_CONFIRM = "access.confirm"
    # Requests for access, and their outcome.
    ACCESS_ASK = "access.ask"
    ACCESS_DECIDE = "access.decide"
    ACCESS_WITHDRAW = "access.withdraw"
    ACCESS_EXPIRE = "access.expire"

    TOKEN_VIEW = "token.view"
    TOKEN_ISSUE = "token.issue"
    TOKEN_CHANGE = "token.change"
    TOKEN_REVOKE = "token.revoke"

    # Trusts, by which workloads sign in; the ended tokens of workloads are removed after some days.
    TRUST_VIEW = "trust.view"
    TRUST_CREATE = "trust.create"
    TRUST_CHANGE = "trust.change"
    TRUST_DELETE = "trust.delete"
    TRUST_TEST = "trust.test"
    TRUST_SIGN_IN = "trust.sign_in"
    TRUST_PURGE = "trust.purge"

    USER_VIEW = "user.view"
    USER_CREATE = "user.create"
    USER_CHANGE = "user.change"
    # Offboarding: the account is disabled, and the secrets it knows are queued for rotation.
    USER_OFFBOARD = "user.offboard"
    SECOND_FACTOR_CHANGE = "second_factor.change"
    GROUP_CHANGE = "group.change"
    SAML_MAPPING_CHANGE = "saml_mapping.change"
    SAML_METADATA_CHANGE = "saml_metadata.change"

    SECRET_VIEW = "secret.view"
    SECRET_REVEAL = "secret.reveal"
    SECRET_EXPORT = "secret.export"
    SECRET_COMPARE = "secret.compare"
    SECRET_CREATE = "secret.create"
    SECRET_UPDATE = "secret.update"
    SECRET_ROLLBACK = "secret.rollback"
    SECRET_RENAME = "secret.rename"
    SECRET_COPY = "secret.copy"
    SECRET_MOVE = "secret.move"
    SECRET_DELETE = "secret.delete"
    SECRET_RESTORE = "secret.restore"
    SECRET_PURGE = "secret.purge"
    # A version shared once by a link; the link opened, which consumes it; the link ended.
    SECRET_SHARE = "secret.share"
    SECRET_SHARE_OPEN = "secret.share_open"
    SECRET_SHARE_REVOKE = "secret.share_revoke"
    SECRET_IMPORT = "secret.import"
    # A value of the older scheme was taken over; the only proof that it may open.
    SECRET_INVENTORY = "secret.inventory"
    # A value handed to a target of the sync, and one taken from it.
    SECRET_DELIVER = "secret.deliver"
    SECRET_PULL = "secret.pull"
    # A rotation wrote down the next value; made it current, or the previous one again; dropped one.
    SECRET_STAGE = "secret.stage"
    SECRET_ROTATE = "secret.rotate"
    SECRET_UNSTAGE = "secret.unstage"

    TARGET_VIEW = "target.view"
    TARGET_CREATE = "target.create"
    TARGET_CHANGE = "target.change"
    TARGET_REMOVE = "target.remove"
    TARGET_PAUSE = "target.pause"
    TARGET_TEST = "target.test"
    # A requested plan, pass or check, which a worker then executes in the requester's name.
    TARGET_REQUEST = "target.request"
    TARGET_PLAN = "target.plan"
    TARGET_APPLY = "target.apply"
    TARGET_ADOPT = "target.adopt"
    TARGET_RESOLVE = "target.resolve"
    # Opens the sealed credentials of a target, before each use.
    TARGET_CONNECT = "target.connect"
    # What a pass found that someone has to look at: drift, conflict, failure, recovery.
    TARGET_ALERT = "target.alert"

    # Rotation policies, each of one secret, and their rotations.
    ROTATION_VIEW = "rotation.view"
    ROTATION_CREATE = "rotation.create"
    ROTATION_CHANGE = "rotation.change"
    ROTATION_SUSPEND = "rotation.suspend"
    ROTATION_REMOVE = "rotation.remove"
    ROTATION_RUN = "rotation.run"
    # To retry, roll back or abandon a rotation; to end a grace early.
    ROTATION_RESOLVE = "rotation.resolve"
    ROTATION_CUT = "rotation.cut"
    ROTATION_ACKNOWLEDGE = "rotation.acknowledge"
    # Hands values to a rotator, and opens its administrator's credential, before each use.
    ROTATION_CONNECT = "rotation.connect"
    # How far a rotation has come, and what someone has to look at.
    ROTATION_STEP = "rotation.step"
    ROTATION_ALERT = "rotation.alert"

    # Whether references take an environment's values to a target of another.
    CONSENT_VIEW = "consent.view"
    CONSENT_GIVE = "consent.give"
    CONSENT_WITHDRAW = "consent.withdraw"

    # Recipients of e-mail and webhooks; a webhook's address is decrypted before each use.
    NOTIFICATION_VIEW = "notification.view"
    NOTIFICATION_CREATE = "notification.create"
    NOTIFICATION_REMOVE = "notification.remove"
    NOTIFICATION_TEST = "notification.test"
    NOTIFICATION_CHOOSE = "notification.choose"
    NOTIFICATION_SEND = "notification.send"

    # Approvals in a protected environment.
    APPROVAL_ASK = "approval.ask"
    APPROVAL_VIEW = "approval.view"
    APPROVAL_DECIDE = "approval.decide"
    APPROVAL_COMMENT = "approval.comment"
    APPROVAL_WITHDRAW = "approval.withdraw"
    # Opens the proposed values, before they are written.
    APPROVAL_OPEN = "approval.open"
    APPROVAL_CARRY_OUT = "approval.carry_out"
    APPROVAL_EXPIRE = "approval.expire"

    SIGN_IN = "session.sign_in"
    SIGN_OUT = "session.sign_out"
    SESSION_END = "session.end"
    SESSION_CONFIRM = "session.confirm"
    # Unauthenticated refusals, one event a minute, address and kind.
    REFUSAL = "access.refused"
    INTEGRITY_VIOLATION = "integrity.violation"
    # Every envelope is decrypted for comparison, and never shown.
    INTEGRITY_SWEEP = "integrity.sweep"

    # The page of health; and that a system which Keeper needs fails, or works again.
    SYSTEM_VIEW = "system.view"
    SYSTEM_CHECK = "system.check"
    # A process of `keeper run` ended and was started again, or runs steadily since.
    PROCESS_RESTART = "process.restart"

    # Scheduled work that a person asked for ahead of its time.
    SCHEDULE_RUN = "schedule.run"
    DATA_KEY_CREATE = "data_key.create"
    DATA_KEY_ROTATE = "data_key.rotate"
    DATA_KEY_OPEN = "data_key.open"
    # A requested check of data keys, which a worker then runs.
    DATA_KEY_CHECK = "data_key.check"
    KEY_MIGRATION_START = "key_migration.start"
    KEY_MIGRATION_FINALISE = "key_migration.finalise"
    KEY_MIGRATION_ROLLBACK = "key_migration.rollback"

    # A read or search of the audit log itself.
    TRAIL_VIEW = "trail.view"
    TRAIL_VERIFY = "trail.verify"
    TRAIL_EXPORT = "trail.export"
    # The rows of a list of the admin, as a file; values are not among its columns.
    LIST_EXPORT = "list.export"
    # An operator lets checkpoints continue from a state that is older than the newest anchor.
    TRAIL_RESUME = "trail.resume"
    # Retention took old events out of a stream: the record of what, and where they are now.
    TRAIL_PRUNE = "trail.prune"
    # Written to the system stream before a stream's first event, so that a stream that is
    # dropped whole is missed.
    STREAM_OPEN = "stream.open"

    # A backup is begun before anything is read for it, and finished once it is on disk.
    BACKUP_VIEW = "backup.view"
    # A requested backup or verification, which a worker then runs.
    BACKUP_REQUEST = "backup.request"
    BACKUP_CREATE = "backup.create"
    BACKUP_FINISH = "backup.finish"
    REPORT_GENERATE = "report.generate"
    REPORT_SEND = "report.send"
    BACKUP_VERIFY = "backup.verify"
    # The sealed file was handed out.
    BACKUP_DOWNLOAD = "backup.download"
    BACKUP_REMOVE = "backup.remove"
    # The discontinuity in a restored trail, what the restore suspended, and what people released since.
    DEPLOYMENT_RESTORE = "deployment.restore"
    RESTORE_SUSPEND = "restore.suspend"
    RESTORE_RELEASE = "restore.release"
    # This installation is the one that acts, and no other of the deployment.
    DEPLOYMENT_ACTIVATE = "deployment.activate"

    CONFIGURATION_CHANGE = "configuration.change"
    DEPLOYMENT_INITIALISE = "deployment.initialise"


class Outcome(StrEnum):
    """How an act ended."""

    ALLOWED = "allowed"
    DENIED = "denied"
    FAILED = "failed"


# What Keeper does on the way, or beside an act that is recorded itself: lists hide what of it succeeded.
HOUSEKEEPING: Final = frozenset(
    {
        Action.STREAM_OPEN,
        Action.CONFIGURATION_CHANGE,
        Action.TARGET_CONNECT,
        Action.ROTATION_CONNECT,
        Action.ROTATION_STEP,
        Action.DATA_KEY_OPEN,
        Action.SYSTEM_CHECK,
        Action.INTEGRITY_SWEEP,
        Action.NOTIFICATION_SEND,
        Action.BACKUP_CREATE,
    }
)
# The acts for which values are opened, one or many: for people, programs, copies and targets.
READS: Final = frozenset(
    {
        Action.SECRET_REVEAL,
        Action.SECRET_EXPORT,
        Action.SECRET_COMPARE,
        Action.SECRET_COPY,
        Action.SECRET_MOVE,
        Action.SECRET_DELIVER,
    }
)
