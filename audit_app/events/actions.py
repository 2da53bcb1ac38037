"""What can be done: one vocabulary for what is allowed and for what is recorded."""

from enum import StrEnum
from typing import Final, Self


class Action(StrEnum):
    """An act that the policy decides on, that the audit log records, or both.

    The values are written into the chain and must never change. `label` is the act in lists of choices
    ("Secret revealed"), `done` the verb after an actor ("alice revealed"), and `tried` its imperative.
    """

    label: str
    done: str
    tried: str

    def __new__(cls, value: str, label: str = "", done: str = "", tried: str = "") -> Self:
        action = str.__new__(cls, value)
        action._value_, action.label, action.done, action.tried = value, label, done, tried
        return action

    # fmt: off
    ENVIRONMENT_VIEW = "environment.view", "Environment viewed", "viewed environment", "view environment"
    ENVIRONMENT_CREATE = ("environment.create", "Environment created",
        "created environment", "create environment")
    ENVIRONMENT_UPDATE = ("environment.update", "Environment updated",
        "updated environment", "update environment")
    ENVIRONMENT_DELETE = ("environment.delete", "Environment deleted",
        "deleted environment", "delete environment")
    ENVIRONMENT_RESTORE = ("environment.restore", "Environment restored",
        "restored environment", "restore environment")
    ENVIRONMENT_PURGE = ("environment.purge", "Environment purged",
        "permanently deleted rows of environment", "permanently delete environment")

    MEMBER_VIEW = "member.view", "Members viewed", "viewed members of", "view members of"
    MEMBER_GRANT = "member.grant", "Access granted", "granted access to", "grant access to"
    MEMBER_CHANGE = "member.change", "Access changed", "changed access of", "change access of"
    MEMBER_REVOKE = "member.revoke", "Access revoked", "revoked access of", "revoke access of"
    # A temporary membership has expired.
    MEMBER_EXPIRE = ("member.expire", "Access expired",
        "ended the expired access of", "end the expired access of")
    BREAK_GLASS = ("member.break_glass", "Break-glass access used",
        "used break-glass access to", "use break-glass access to")
    # Another person could sign in as a member, or an administrator mapped a group: the grant shows no value
    # until a manager confirms it.
    ACCESS_SUSPEND = "access.suspend", "Access suspended", "suspended access of", "suspend access of"
    ACCESS_CONFIRM = "access.confirm", "Access confirmed", "confirmed access of", "confirm access of"
    # Requests for access, and their outcome.
    ACCESS_ASK = "access.ask", "Access requested", "requested access to", "request access to"
    ACCESS_DECIDE = ("access.decide", "Access request reviewed",
        "reviewed an access request for", "review an access request for")
    ACCESS_WITHDRAW = ("access.withdraw", "Access request canceled",
        "canceled an access request for", "cancel an access request for")
    ACCESS_EXPIRE = ("access.expire", "Access request expired",
        "closed an expired access request for", "close an access request for")

    # Reviews of access: the list is frozen, each entry is kept or ended, and another person signs off.
    REVIEW_START = "review.start", "Access review started", "started access review", "start access review"
    REVIEW_DECIDE = ("review.decide", "Access reviewed",
        "decided in access review", "decide in access review")
    REVIEW_SIGN = ("review.sign", "Access review signed off",
        "signed off access review", "sign off access review")
    REVIEW_CANCEL = ("review.cancel", "Access review canceled",
        "canceled access review", "cancel access review")

    TOKEN_VIEW = "token.view", "Tokens viewed", "viewed tokens of", "view tokens of"
    # A decoy token was sent: somebody has found it.
    TOKEN_DECOY = "token.decoy", "Decoy token used", "used the decoy token", "use the decoy token"
    TOKEN_ISSUE = "token.issue", "Token issued", "issued token", "issue token"
    TOKEN_CHANGE = "token.change", "Token changed", "changed token", "change token"
    TOKEN_REVOKE = "token.revoke", "Token revoked", "revoked token", "revoke token"

    # Trusts, by which workloads sign in; the ended tokens of workloads are removed after some days.
    TRUST_VIEW = "trust.view", "Trusts viewed", "viewed trusts of", "view trusts of"
    TRUST_CREATE = "trust.create", "Trust created", "created trust", "create trust"
    TRUST_CHANGE = "trust.change", "Trust changed", "changed trust", "change trust"
    TRUST_DELETE = "trust.delete", "Trust deleted", "deleted trust", "delete trust"
    TRUST_TEST = "trust.test", "Trust tested", "tested a token against trust", "test a token against trust"
    TRUST_SIGN_IN = "trust.sign_in", "Workload signed in", "signed in with trust", "sign in with trust"
    TRUST_PURGE = ("trust.purge", "Expired workload tokens removed",
        "removed expired workload tokens of", "remove expired tokens of")

    USER_VIEW = "user.view", "Person viewed", "viewed person", "view person"
    USER_CREATE = "user.create", "Person created", "created person", "create person"
    USER_CHANGE = "user.change", "Person changed", "changed the account of", "change the account of"
    # Offboarding: the account is disabled, and the secrets it knows are queued for rotation.
    USER_OFFBOARD = "user.offboard", "Person offboarded", "offboarded", "offboard"
    # A person lost access and knows values there: what is decided about these.
    USER_MOVE = "user.move", "Move followed up", "followed up the move of", "follow up the move of"
    SECOND_FACTOR_CHANGE = ("second_factor.change", "Two-factor authentication changed",
        "changed two-factor authentication of", "change two-factor authentication of")
    # What a SCIM client does with people, and who may call as one.
    USER_PROVISION = "user.provision", "Person provisioned", "provisioned", "provision"
    SCIM_CLIENT_CHANGE = ("scim_client.change", "SCIM client changed",
        "changed the SCIM client", "change the SCIM client")
    GROUP_CHANGE = "group.change", "Group changed", "changed group", "change group"
    SAML_MAPPING_CHANGE = ("saml_mapping.change", "SAML mapping changed",
        "changed the SAML mapping of", "change the SAML mapping of")
    SSO_PROVIDER_CHANGE = ("sso_provider.change", "Sign-in provider changed",
        "changed the sign-in provider", "change the sign-in provider")
    SAML_METADATA_CHANGE = ("saml_metadata.change", "SAML metadata updated",
        "updated SAML metadata of", "update SAML metadata of")

    SECRET_VIEW = "secret.view", "Secret viewed", "viewed", "view"
    SECRET_REVEAL = "secret.reveal", "Secret revealed", "revealed", "reveal"
    SECRET_EXPORT = "secret.export", "Secrets exported", "exported", "export"
    SECRET_COMPARE = "secret.compare", "Secrets compared", "compared", "compare"
    SECRET_CREATE = "secret.create", "Secret created", "created", "create"
    SECRET_UPDATE = "secret.update", "Secret updated", "updated", "update"
    SECRET_ROLLBACK = "secret.rollback", "Secret rolled back", "rolled back", "roll back"
    SECRET_RENAME = "secret.rename", "Secret renamed", "renamed", "rename"
    SECRET_COPY = "secret.copy", "Secret copied", "copied", "copy"
    SECRET_MOVE = "secret.move", "Secret moved", "moved", "move"
    SECRET_DELETE = "secret.delete", "Secret deleted", "deleted", "delete"
    SECRET_RESTORE = "secret.restore", "Secret restored", "restored", "restore"
    SECRET_PURGE = "secret.purge", "Secret purged", "permanently deleted", "permanently delete"
    SECRET_DESTROY = "secret.destroy", "Versions destroyed", "destroyed versions of", "destroy versions of"
    # A version shared once by a link; the link opened, which consumes it; the link ended.
    SECRET_SHARE = "secret.share", "Share link created", "created a share link for", "create a share link for"
    SECRET_SHARE_OPEN = ("secret.share_open", "Share link opened",
        "opened a share link for", "open a share link for")
    # Whoever has a link for somebody outside asked for the code that opens it.
    SECRET_SHARE_CODE = ("secret.share_code", "Share code requested",
        "requested a code for a share link for", "request a code for a share link for")
    SECRET_SHARE_REVOKE = ("secret.share_revoke", "Share link revoked",
        "revoked a share link for", "revoke a share link for")
    # A read wrapped in a token; the token used up; withdrawn; tokens that ended removed.
    SECRET_WRAP = "secret.wrap", "Read wrapped", "wrapped a read of", "wrap a read of"
    SECRET_UNWRAP = "secret.unwrap", "Read unwrapped", "unwrapped a read of", "unwrap a read of"
    SECRET_WRAP_REVOKE = ("secret.wrap_revoke", "Wrapped read revoked",
        "revoked a wrapped read of", "revoke a wrapped read of")
    SECRET_WRAP_PURGE = ("secret.wrap_purge", "Ended wrapped reads removed",
        "removed ended wrapped reads of", "remove ended wrapped reads of")
    # Its values are read only after a second person has agreed; the end of that.
    SECRET_GUARD = "secret.guard", "Secret guarded", "guarded", "guard"
    SECRET_UNGUARD = "secret.unguard", "Guard ended", "ended the guard of", "end the guard of"
    # A program reads guarded values without asking each time, since two people agreed to it; the end of that.
    SECRET_RELEASE = "secret.release", "Program released", "released", "release"
    SECRET_RELEASE_END = ("secret.release_end", "Release ended",
        "ended the release of", "end the release of")
    # A read of one without a second person (a break-glass event) was looked at afterwards.
    SECRET_REVIEW_EMERGENCY = ("secret.review_emergency", "Emergency read reviewed",
        "reviewed the emergency read of", "review the emergency read of")
    # Nobody has a reason to use it: it was made a decoy; it is none any more; it was used.
    SECRET_DECOY_SET = "secret.decoy_set", "Decoy made", "made a decoy of", "make a decoy of"
    SECRET_DECOY_END = "secret.decoy_end", "Decoy ended", "ended the decoy", "end the decoy"
    SECRET_DECOY = "secret.decoy", "Decoy used", "noticed a use of the decoy", "notice a use of the decoy"
    SECRET_IMPORT = "secret.import", "Secrets imported", "imported", "import"
    # Secrets with their versions were carried from another system; and the migration that does it.
    SECRET_MIGRATE = "secret.migrate", "Secrets carried over", "carried over", "carry over"
    MIGRATION_PLAN = "migration.plan", "Migration planned", "planned migration", "plan migration"
    MIGRATION_APPLY = "migration.apply", "Migration applied", "applied migration", "apply migration"
    MIGRATION_STOP = "migration.stop", "Migration stopped", "stopped migration", "stop migration"
    MIGRATION_CONNECT = ("migration.connect", "Migration credentials used",
        "used the credentials of migration", "use the credentials of migration")
    # A value of the older scheme was taken over; the only proof that it may open.
    SECRET_INVENTORY = ("secret.inventory", "Older secrets registered",
        "registered the older values of", "register the older values of")
    # A value handed to a target of the sync, and one taken from it.
    SECRET_DELIVER = "secret.deliver", "Secrets delivered", "delivered secrets to", "deliver secrets to"
    SECRET_PULL = "secret.pull", "Secrets pulled", "pulled secrets from", "pull secrets from"
    # A rotation wrote down the next value; made it current, or the previous one again; dropped one.
    SECRET_STAGE = "secret.stage", "New value staged", "staged a new value for", "stage a new value for"
    SECRET_ROTATE = "secret.rotate", "Secret rotated", "rotated", "rotate"
    SECRET_UNSTAGE = ("secret.unstage", "Staged value discarded",
        "discarded a staged value of", "discard a staged value of")

    TARGET_VIEW = "target.view", "Target viewed", "viewed target", "view target"
    TARGET_CREATE = "target.create", "Target created", "created target", "create target"
    TARGET_CHANGE = "target.change", "Target changed", "changed target", "change target"
    TARGET_REMOVE = "target.remove", "Target removed", "removed target", "remove target"
    TARGET_PAUSE = ("target.pause", "Target paused or resumed",
        "paused or resumed target", "pause or resume target")
    TARGET_TEST = "target.test", "Connection tested", "tested the connection to", "test the connection to"
    # A requested plan, pass or check, which a worker then executes in the requester's name.
    TARGET_REQUEST = "target.request", "Sync requested", "requested a sync with", "request a sync with"
    TARGET_PLAN = "target.plan", "Plan created", "planned a sync with", "plan a sync with"
    TARGET_APPLY = "target.apply", "Plan applied", "synced with", "sync with"
    TARGET_ADOPT = "target.adopt", "Secrets adopted", "adopted secrets of", "adopt secrets of"
    TARGET_RESOLVE = "target.resolve", "Conflict resolved", "resolved a conflict at", "resolve a conflict at"
    # Opens the sealed credentials of a target, before each use.
    TARGET_CONNECT = ("target.connect", "Target credentials used",
        "used the credentials of", "use the credentials of")
    # What a pass found that someone has to look at: drift, conflict, failure, recovery.
    TARGET_ALERT = "target.alert", "Target alert raised", "raised an alert about", "raise an alert about"

    # Rotation policies, each of one secret, and their rotations.
    ROTATION_VIEW = "rotation.view", "Rotation viewed", "viewed the rotation of", "view the rotation of"
    ROTATION_CREATE = "rotation.create", "Rotation set up", "set up rotation of", "set up rotation of"
    ROTATION_CHANGE = ("rotation.change", "Rotation changed",
        "changed the rotation of", "change the rotation of")
    ROTATION_SUSPEND = ("rotation.suspend", "Rotation suspended or resumed",
        "suspended or resumed the rotation of", "suspend or resume the rotation of")
    ROTATION_REMOVE = ("rotation.remove", "Rotation removed",
        "removed the rotation of", "remove the rotation of")
    ROTATION_RUN = "rotation.run", "Rotation requested", "requested a rotation of", "request a rotation of"
    # To retry, roll back or abandon a rotation; to end a grace early.
    ROTATION_RESOLVE = ("rotation.resolve", "Rotation resolved",
        "resolved a rotation of", "resolve a rotation of")
    ROTATION_CUT = "rotation.cut", "Overlap ended", "ended the overlap of", "end the overlap of"
    ROTATION_ACKNOWLEDGE = ("rotation.acknowledge", "Version acknowledged",
        "confirmed the version used of", "confirm the version used of")
    # Hands values to a rotator, and opens its administrator's credential, before each use.
    ROTATION_CONNECT = ("rotation.connect", "Rotation credential used",
        "used the rotation credential of", "use the rotation credential of")
    # How far a rotation has come, and what someone has to look at.
    ROTATION_STEP = ("rotation.step", "Rotation step finished",
        "finished a rotation step of", "finish a rotation step of")
    ROTATION_ALERT = ("rotation.alert", "Rotation alert raised",
        "raised an alert about the rotation of", "raise an alert about the rotation of")

    # Whether references take an environment's values to a target of another.
    CONSENT_VIEW = ("consent.view", "Reference permissions viewed",
        "viewed reference permissions of", "view reference permissions of")
    CONSENT_GIVE = ("consent.give", "Reference permission given",
        "allowed references for", "allow references for")
    CONSENT_WITHDRAW = ("consent.withdraw", "Reference permission withdrawn",
        "disallowed references for", "disallow references for")

    # Recipients of e-mail and webhooks; a webhook's address is decrypted before each use.
    NOTIFICATION_VIEW = ("notification.view", "Notification settings viewed",
        "viewed notification settings of", "view notification settings of")
    NOTIFICATION_CREATE = ("notification.create", "Notification recipient added",
        "added notification recipient", "add notification recipient")
    NOTIFICATION_REMOVE = ("notification.remove", "Notification recipient removed",
        "removed notification recipient", "remove notification recipient")
    NOTIFICATION_RETRY = ("notification.retry", "Failed message sent again", "sent again", "send again")
    NOTIFICATION_TEST = ("notification.test", "Test message sent",
        "sent a test message to", "send a test message to")
    NOTIFICATION_CHOOSE = ("notification.choose", "Email digest changed",
        "changed the email digest of", "change the email digest of")
    NOTIFICATION_SEND = "notification.send", "Notification sent", "notified", "notify"

    # Sinks of events: added, changed or removed; tried; a refused event left out.
    SINK_CHANGE = "sink.change", "Event sink changed", "changed the event sink", "change the event sink"
    SINK_TEST = "sink.test", "Event sink tested", "tested the event sink", "test the event sink"
    SINK_SKIP = ("sink.skip", "Event skipped for a sink",
        "skipped an event that was refused by", "skip an event that is refused by")

    # Approvals in a protected environment.
    APPROVAL_ASK = "approval.ask", "Approval requested", "requested approval for", "request approval for"
    APPROVAL_VIEW = ("approval.view", "Approval request viewed",
        "viewed the approval request for", "view the approval request for")
    APPROVAL_DECIDE = ("approval.decide", "Approval request reviewed",
        "reviewed the approval request for", "review the approval request for")
    APPROVAL_COMMENT = ("approval.comment", "Approval request commented",
        "commented on the approval request for", "comment on the approval request for")
    APPROVAL_WITHDRAW = ("approval.withdraw", "Approval request canceled",
        "canceled the approval request for", "cancel the approval request for")
    # Opens the proposed values, before they are written.
    APPROVAL_OPEN = ("approval.open", "Proposed value opened",
        "opened the proposed value for", "open the proposed value for")
    APPROVAL_CARRY_OUT = ("approval.carry_out", "Approved change applied",
        "applied the approved change to", "apply the approved change to")
    APPROVAL_EXPIRE = ("approval.expire", "Approval request expired",
        "closed an expired approval request for", "close an expired approval request for")

    SIGN_IN = "session.sign_in", "Signed in", "signed in", "sign in"
    SIGN_OUT = "session.sign_out", "Signed out", "signed out", "sign out"
    SESSION_END = "session.end", "Session ended", "ended a session of", "end a session of"
    SESSION_CONFIRM = ("session.confirm", "Password confirmed",
        "confirmed the password of", "confirm the password of")
    # Unauthenticated refusals, one event a minute, address and kind.
    REFUSAL = "access.refused", "Unauthenticated request denied", "was denied access", "authenticate"
    INTEGRITY_VIOLATION = ("integrity.violation", "Integrity check failed",
        "reported a failed integrity check of", "verify the integrity of")
    # Every envelope is decrypted for comparison, and never shown.
    INTEGRITY_SWEEP = ("integrity.sweep", "Integrity check run",
        "checked the integrity of", "check the integrity of")

    # The page of health; and that a system which Keeper needs fails, or works again.
    SYSTEM_VIEW = "system.view", "Health viewed", "viewed the health of", "view the health of"
    SYSTEM_CHECK = "system.check", "Health check", "passed a health check of", "reach"
    # A process of `keeper run` ended and was started again, or runs steadily since.
    PROCESS_RESTART = "process.restart", "Process restarted", "restarted", "keep running"

    # Scheduled work that a person asked for ahead of its time.
    SCHEDULE_RUN = "schedule.run", "Scheduled work requested", "requested a run of", "request a run of"
    DATA_KEY_CREATE = "data_key.create", "Data key created", "created data key", "create data key"
    DATA_KEY_ROTATE = "data_key.rotate", "Data key rotated", "rotated data key", "rotate data key"
    DATA_KEY_OPEN = "data_key.open", "Data key opened", "opened data key", "open data key"
    # A requested check of data keys, which a worker then runs.
    DATA_KEY_CHECK = "data_key.check", "Key check requested", "requested a check of", "request a check of"
    KEY_MIGRATION_START = ("key_migration.start", "Key migration started",
        "started to migrate keys of", "migrate keys of")
    KEY_MIGRATION_FINALISE = ("key_migration.finalise", "Key migration finished",
        "finished the key migration of", "finish the key migration of")
    KEY_MIGRATION_ROLLBACK = ("key_migration.rollback", "Key migration rolled back",
        "rolled back the key migration of", "roll back the key migration of")

    # A pasted text, which no event holds, was compared with tokens and values.
    LEAK_SEARCH = "leak.search", "Leak searched for", "searched for a leak in", "search for a leak in"
    # A read or search of the audit log itself.
    TRAIL_VIEW = "trail.view", "Audit log viewed", "viewed the audit log:", "view the audit log:"
    TRAIL_VERIFY = ("trail.verify", "Audit log verified",
        "verified the audit log of", "verify the audit log of")
    TRAIL_EXPORT = ("trail.export", "Audit log exported",
        "exported the audit log of", "export the audit log of")
    # The rows of a list of the admin, as a file; values are not among its columns.
    LIST_EXPORT = "list.export", "List exported", "exported the list of", "export the list of"
    # An operator lets checkpoints continue from a state that is older than the newest anchor.
    TRAIL_RESUME = ("trail.resume", "Audit log rollback accepted",
        "accepted a rollback of the audit log,", "accept a rollback of")
    # Retention took old events out of a stream: the record of what, and where they are now.
    TRAIL_PRUNE = "trail.prune", "Events archived", "archived events to", "archive events to"
    # Written to the system stream before a stream's first event, so that a stream that is
    # dropped whole is missed.
    STREAM_OPEN = "stream.open", "Audit stream started", "started audit stream", "start audit stream"

    # A backup is begun before anything is read for it, and finished once it is on disk.
    BACKUP_VIEW = "backup.view", "Backups viewed", "viewed backups of", "view backups of"
    # A requested backup or verification, which a worker then runs.
    BACKUP_REQUEST = "backup.request", "Backup requested", "requested a backup task", "request a backup task"
    BACKUP_CREATE = "backup.create", "Backup started", "started backup", "start backup"
    BACKUP_FINISH = "backup.finish", "Backup finished", "finished backup", "finish backup"
    REPORT_GENERATE = "report.generate", "Report generated", "generated report", "generate report"
    REPORT_SEND = "report.send", "Report sent", "e-mailed report", "e-mail report"
    BACKUP_VERIFY = "backup.verify", "Backup verified", "verified backup", "verify backup"
    # The sealed file was handed out.
    BACKUP_DOWNLOAD = "backup.download", "Backup downloaded", "downloaded backup", "download backup"
    BACKUP_REMOVE = "backup.remove", "Backup removed", "removed backup", "remove backup"
    # The discontinuity in a restored trail, what the restore suspended, and what people released since.
    DEPLOYMENT_RESTORE = "deployment.restore", "Backup restored", "restored backup", "restore backup"
    RESTORE_SUSPEND = ("restore.suspend", "Suspended after a restore",
        "suspended after a restore:", "suspend after a restore:")
    RESTORE_RELEASE = ("restore.release", "Released after a restore",
        "released after a restore:", "release after a restore:")
    # This installation is the one that acts, and no other of the deployment.
    DEPLOYMENT_ACTIVATE = ("deployment.activate", "Installation activated",
        "activated installation", "activate installation")

    CONFIGURATION_CHANGE = ("configuration.change", "Configuration changed",
        "changed configuration of", "change configuration of")
    DEPLOYMENT_INITIALISE = ("deployment.initialise", "Installation initialized",
        "initialized installation", "initialize installation")
    # fmt: on


class Outcome(StrEnum):
    """How an act ended."""

    ALLOWED = "allowed"
    DENIED = "denied"
    FAILED = "failed"


# What Keeper does on the way, or beside an act that is recorded itself: lists hide what of it succeeded.
HOUSEKEEPING: Final = frozenset({
    Action.STREAM_OPEN, Action.CONFIGURATION_CHANGE, Action.TARGET_CONNECT, Action.ROTATION_CONNECT,
    Action.ROTATION_STEP, Action.DATA_KEY_OPEN, Action.SYSTEM_CHECK, Action.INTEGRITY_SWEEP,
    Action.NOTIFICATION_SEND, Action.BACKUP_CREATE,
})  # fmt: skip
# The acts for which values are opened, one or many: for people, programs, copies and targets.
READS: Final = frozenset({
    Action.SECRET_REVEAL, Action.SECRET_EXPORT, Action.SECRET_COMPARE, Action.SECRET_COPY,
    Action.SECRET_MOVE, Action.SECRET_DELIVER,
})  # fmt: skip
# Acts on values that show none to the actor. Any other act counts as a use, so a new way of reading is
# included by default.
UNSEEN: Final = frozenset({
    Action.ROTATION_CONNECT, Action.SECRET_STAGE, Action.SECRET_UNSTAGE, Action.SECRET_ROTATE,
    Action.SECRET_MIGRATE, Action.SECRET_DECOY,
})  # fmt: skip
