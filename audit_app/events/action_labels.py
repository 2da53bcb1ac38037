"""The words in which pages speak of recorded actions: as a noun in filters, as a verb after an actor."""

from typing import Final, NamedTuple


class ActionLabel(NamedTuple):
    """An action's name in lists of choices, its verb once it was done, and its verb when only tried."""

    name: str
    done: str
    tried: str


# A line of activity reads "alice revealed payments/db"; the filter offers "Secret revealed".
ACTION_LABELS: Final[dict[str, ActionLabel]] = {
    "environment.view": ActionLabel("Environment viewed", "viewed environment", "view environment"),
    "environment.create": ActionLabel("Environment created", "created environment", "create environment"),
    "environment.update": ActionLabel("Environment updated", "updated environment", "update environment"),
    "environment.delete": ActionLabel("Environment deleted", "deleted environment", "delete environment"),
    "member.view": ActionLabel("Members viewed", "viewed members of", "view members of"),
    "member.grant": ActionLabel("Access granted", "granted access to", "grant access to"),
    "member.change": ActionLabel("Access changed", "changed access of", "change access of"),
    "member.revoke": ActionLabel("Access revoked", "revoked access of", "revoke access of"),
    "member.expire": ActionLabel(
        "Access expired", "ended the expired access of", "end the expired access of"
    ),
    "member.break_glass": ActionLabel(
        "Break-glass access used", "used break-glass access to", "use break-glass access to"
    ),
    "access.suspend": ActionLabel("Access suspended", "suspended access of", "suspend access of"),
    "access.confirm": ActionLabel("Access confirmed", "confirmed access of", "confirm access of"),
    "access.ask": ActionLabel("Access requested", "requested access to", "request access to"),
    "access.decide": ActionLabel(
        "Access request reviewed", "reviewed an access request for", "review an access request for"
    ),
    "access.withdraw": ActionLabel(
        "Access request canceled", "canceled an access request for", "cancel an access request for"
    ),
    "access.expire": ActionLabel(
        "Access request expired", "closed an expired access request for", "close an access request for"
    ),
    "access.refused": ActionLabel("Unauthenticated request denied", "was denied access", "authenticate"),
    "token.view": ActionLabel("Tokens viewed", "viewed tokens of", "view tokens of"),
    "token.issue": ActionLabel("Token issued", "issued token", "issue token"),
    "token.change": ActionLabel("Token changed", "changed token", "change token"),
    "token.revoke": ActionLabel("Token revoked", "revoked token", "revoke token"),
    "trust.view": ActionLabel("Trusts viewed", "viewed trusts of", "view trusts of"),
    "trust.create": ActionLabel("Trust created", "created trust", "create trust"),
    "trust.change": ActionLabel("Trust changed", "changed trust", "change trust"),
    "trust.delete": ActionLabel("Trust deleted", "deleted trust", "delete trust"),
    "trust.test": ActionLabel("Trust tested", "tested a token against trust", "test a token against trust"),
    "trust.sign_in": ActionLabel("Workload signed in", "signed in with trust", "sign in with trust"),
    "trust.purge": ActionLabel(
        "Expired workload tokens removed", "removed expired workload tokens of", "remove expired tokens of"
    ),
    "user.view": ActionLabel("Person viewed", "viewed person", "view person"),
    "user.create": ActionLabel("Person created", "created person", "create person"),
    "user.change": ActionLabel("Person changed", "changed person", "change person"),
    "user.offboard": ActionLabel("Person offboarded", "offboarded", "offboard"),
    "second_factor.change": ActionLabel(
        "Two-factor authentication changed",
        "changed two-factor authentication of",
        "change two-factor authentication of",
    ),
    "group.change": ActionLabel("Group changed", "changed group", "change group"),
    "saml_mapping.change": ActionLabel(
        "SAML mapping changed", "changed the SAML mapping of", "change the SAML mapping of"
    ),
    "saml_metadata.change": ActionLabel(
        "SAML metadata updated", "updated SAML metadata of", "update SAML metadata of"
    ),
    "secret.view": ActionLabel("Secret viewed", "viewed", "view"),
    "secret.reveal": ActionLabel("Secret revealed", "revealed", "reveal"),
    "secret.export": ActionLabel("Secrets exported", "exported", "export"),
    "secret.create": ActionLabel("Secret created", "created", "create"),
    "secret.update": ActionLabel("Secret updated", "updated", "update"),
    "secret.rollback": ActionLabel("Secret rolled back", "rolled back", "roll back"),
    "secret.rename": ActionLabel("Secret renamed", "renamed", "rename"),
    "secret.copy": ActionLabel("Secret copied", "copied", "copy"),
    "secret.move": ActionLabel("Secret moved", "moved", "move"),
    "secret.delete": ActionLabel("Secret deleted", "deleted", "delete"),
    "secret.restore": ActionLabel("Secret restored", "restored", "restore"),
    "secret.purge": ActionLabel("Secret purged", "permanently deleted", "permanently delete"),
    "secret.compare": ActionLabel("Secrets compared", "compared", "compare"),
    "secret.share": ActionLabel("Share link created", "created a share link for", "create a share link for"),
    "secret.share_open": ActionLabel("Share link opened", "opened a share link for", "open a share link for"),
    "secret.share_revoke": ActionLabel(
        "Share link revoked", "revoked a share link for", "revoke a share link for"
    ),
    "secret.import": ActionLabel("Secrets imported", "imported", "import"),
    "secret.inventory": ActionLabel(
        "Older secrets registered", "registered the older values of", "register the older values of"
    ),
    "secret.deliver": ActionLabel("Secrets delivered", "delivered secrets to", "deliver secrets to"),
    "secret.pull": ActionLabel("Secrets pulled", "pulled secrets from", "pull secrets from"),
    "secret.stage": ActionLabel("New value staged", "staged a new value for", "stage a new value for"),
    "secret.rotate": ActionLabel("Secret rotated", "rotated", "rotate"),
    "secret.unstage": ActionLabel(
        "Staged value discarded", "discarded a staged value of", "discard a staged value of"
    ),
    "rotation.view": ActionLabel("Rotation viewed", "viewed the rotation of", "view the rotation of"),
    "rotation.create": ActionLabel("Rotation set up", "set up rotation of", "set up rotation of"),
    "rotation.change": ActionLabel("Rotation changed", "changed the rotation of", "change the rotation of"),
    "rotation.suspend": ActionLabel(
        "Rotation suspended or resumed",
        "suspended or resumed the rotation of",
        "suspend or resume the rotation of",
    ),
    "rotation.remove": ActionLabel("Rotation removed", "removed the rotation of", "remove the rotation of"),
    "rotation.run": ActionLabel("Rotation requested", "requested a rotation of", "request a rotation of"),
    "rotation.resolve": ActionLabel("Rotation resolved", "resolved a rotation of", "resolve a rotation of"),
    "rotation.cut": ActionLabel("Overlap ended", "ended the overlap of", "end the overlap of"),
    "rotation.acknowledge": ActionLabel(
        "Version acknowledged", "confirmed the version used of", "confirm the version used of"
    ),
    "rotation.connect": ActionLabel(
        "Rotation credential used",
        "used the rotation credential of",
        "use the rotation credential of",
    ),
    "rotation.step": ActionLabel(
        "Rotation step finished", "finished a rotation step of", "finish a rotation step of"
    ),
    "rotation.alert": ActionLabel(
        "Rotation alert raised",
        "raised an alert about the rotation of",
        "raise an alert about the rotation of",
    ),
    "target.view": ActionLabel("Target viewed", "viewed target", "view target"),
    "target.create": ActionLabel("Target created", "created target", "create target"),
    "target.change": ActionLabel("Target changed", "changed target", "change target"),
    "target.remove": ActionLabel("Target removed", "removed target", "remove target"),
    "target.pause": ActionLabel(
        "Target paused or resumed", "paused or resumed target", "pause or resume target"
    ),
    "target.test": ActionLabel("Connection tested", "tested the connection to", "test the connection to"),
    "target.request": ActionLabel("Sync requested", "requested a sync with", "request a sync with"),
    "target.plan": ActionLabel("Plan created", "planned a sync with", "plan a sync with"),
    "target.apply": ActionLabel("Plan applied", "synced with", "sync with"),
    "target.adopt": ActionLabel("Secrets adopted", "adopted secrets of", "adopt secrets of"),
    "target.resolve": ActionLabel("Conflict resolved", "resolved a conflict at", "resolve a conflict at"),
    "target.connect": ActionLabel(
        "Target credentials used", "used the credentials of", "use the credentials of"
    ),
    "target.alert": ActionLabel("Target alert raised", "raised an alert about", "raise an alert about"),
    "consent.view": ActionLabel(
        "Reference permissions viewed", "viewed reference permissions of", "view reference permissions of"
    ),
    "consent.give": ActionLabel(
        "Reference permission given", "allowed references for", "allow references for"
    ),
    "consent.withdraw": ActionLabel(
        "Reference permission withdrawn", "disallowed references for", "disallow references for"
    ),
    "notification.view": ActionLabel(
        "Notification settings viewed", "viewed notification settings of", "view notification settings of"
    ),
    "notification.create": ActionLabel(
        "Notification recipient added", "added notification recipient", "add notification recipient"
    ),
    "notification.remove": ActionLabel(
        "Notification recipient removed", "removed notification recipient", "remove notification recipient"
    ),
    "notification.test": ActionLabel("Test message sent", "sent a test message to", "send a test message to"),
    "notification.choose": ActionLabel(
        "E-mail digest changed", "changed the e-mail digest of", "change the e-mail digest of"
    ),
    "notification.send": ActionLabel("Notification sent", "notified", "notify"),
    "approval.ask": ActionLabel("Approval requested", "requested approval for", "request approval for"),
    "approval.view": ActionLabel(
        "Approval request viewed", "viewed the approval request for", "view the approval request for"
    ),
    "approval.decide": ActionLabel(
        "Approval request reviewed", "reviewed the approval request for", "review the approval request for"
    ),
    "approval.comment": ActionLabel(
        "Approval request commented",
        "commented on the approval request for",
        "comment on the approval request for",
    ),
    "approval.withdraw": ActionLabel(
        "Approval request canceled", "canceled the approval request for", "cancel the approval request for"
    ),
    "approval.open": ActionLabel(
        "Proposed value opened", "opened the proposed value for", "open the proposed value for"
    ),
    "approval.carry_out": ActionLabel(
        "Approved change applied", "applied the approved change to", "apply the approved change to"
    ),
    "approval.expire": ActionLabel(
        "Approval request expired",
        "closed an expired approval request for",
        "close an expired approval request for",
    ),
    "session.sign_in": ActionLabel("Signed in", "signed in", "sign in"),
    "session.sign_out": ActionLabel("Signed out", "signed out", "sign out"),
    "session.end": ActionLabel("Session ended", "ended a session of", "end a session of"),
    "session.confirm": ActionLabel(
        "Password confirmed", "confirmed the password of", "confirm the password of"
    ),
    "integrity.sweep": ActionLabel(
        "Integrity check run", "checked the integrity of", "check the integrity of"
    ),
    "integrity.violation": ActionLabel(
        "Integrity check failed", "reported a failed integrity check of", "verify the integrity of"
    ),
    "system.view": ActionLabel("Health viewed", "viewed the health of", "view the health of"),
    "system.check": ActionLabel("Health check", "passed a health check of", "reach"),
    "process.restart": ActionLabel("Process restarted", "restarted", "keep running"),
    "schedule.run": ActionLabel("Scheduled work requested", "requested a run of", "request a run of"),
    "data_key.create": ActionLabel("Data key created", "created data key", "create data key"),
    "data_key.rotate": ActionLabel("Data key rotated", "rotated data key", "rotate data key"),
    "data_key.open": ActionLabel("Data key opened", "opened data key", "open data key"),
    "data_key.check": ActionLabel("Key check requested", "requested a check of", "request a check of"),
    "key_migration.start": ActionLabel(
        "Key migration started", "started to migrate keys of", "migrate keys of"
    ),
    "key_migration.finalise": ActionLabel(
        "Key migration finished", "finished the key migration of", "finish the key migration of"
    ),
    "key_migration.rollback": ActionLabel(
        "Key migration rolled back", "rolled back the key migration of", "roll back the key migration of"
    ),
    "trail.view": ActionLabel("Audit log viewed", "viewed the audit log:", "view the audit log:"),
    "trail.verify": ActionLabel("Audit log verified", "verified the audit log of", "verify the audit log of"),
    "list.export": ActionLabel("List exported", "exported the list of", "export the list of"),
    "trail.export": ActionLabel("Audit log exported", "exported the audit log of", "export the audit log of"),
    "trail.prune": ActionLabel("Events archived", "archived events to", "archive events to"),
    "trail.resume": ActionLabel(
        "Audit log rollback accepted", "accepted a rollback of the audit log,", "accept a rollback of"
    ),
    "stream.open": ActionLabel("Audit stream started", "started audit stream", "start audit stream"),
    "report.generate": ActionLabel("Report generated", "generated report", "generate report"),
    "report.send": ActionLabel("Report sent", "e-mailed report", "e-mail report"),
    "backup.view": ActionLabel("Backups viewed", "viewed backups of", "view backups of"),
    "backup.request": ActionLabel("Backup requested", "requested a backup task", "request a backup task"),
    "backup.create": ActionLabel("Backup started", "started backup", "start backup"),
    "backup.finish": ActionLabel("Backup finished", "finished backup", "finish backup"),
    "backup.verify": ActionLabel("Backup verified", "verified backup", "verify backup"),
    "backup.download": ActionLabel("Backup downloaded", "downloaded backup", "download backup"),
    "backup.remove": ActionLabel("Backup removed", "removed backup", "remove backup"),
    "deployment.restore": ActionLabel("Backup restored", "restored backup", "restore backup"),
    "restore.suspend": ActionLabel(
        "Suspended after a restore", "suspended after a restore:", "suspend after a restore:"
    ),
    "restore.release": ActionLabel(
        "Released after a restore", "released after a restore:", "release after a restore:"
    ),
    "deployment.activate": ActionLabel(
        "Installation activated", "activated installation", "activate installation"
    ),
    "configuration.change": ActionLabel(
        "Configuration changed", "changed configuration of", "change configuration of"
    ),
    "deployment.initialise": ActionLabel(
        "Installation initialized", "initialized installation", "initialize installation"
    ),
}

# The headings of the list of actions, each with how the names of its actions begin.
GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "Secrets": ("secret",),
    "Access": (
        "access", "approval", "group", "member", "saml_mapping", "saml_metadata", "second_factor", "session",
        "token", "trust", "user",
    ),
    "Environments": ("environment", "notification"),
    "Sync": ("target", "consent"),
    "Rotation": ("rotation",),
    "Keys": ("data_key", "key_migration"),
    "Audit and backups": ("trail", "list", "stream", "report", "backup", "integrity"),
}  # fmt: skip
SYSTEM: Final = "System"
HEADINGS: Final = (*GROUPS, SYSTEM)

# Acts on many secrets of an environment, where the words differ from those for one secret.
_IN_ENVIRONMENT: Final = {
    "secret.create": ActionLabel("Secrets created", "created secrets in", "create secrets in")
}


def group_of(action: str) -> str:
    """Return the heading under which lists of choices show an action."""
    subject = action.partition(".")[0]
    return next((heading for heading, subjects in GROUPS.items() if subject in subjects), SYSTEM)


def action_name(action: str) -> str:
    """Return an action as a noun: "Secret revealed"."""
    known = ACTION_LABELS.get(action)
    return known.name if known else action.replace(".", " ").replace("_", " ").capitalize()


def verb(action: str, outcome: str = "allowed", *, of: str = "") -> str:
    """Return `action`, as it turned out, in words that follow an actor's name; `of` is the kind of object."""
    plain = action.replace(".", " ").replace("_", " ")
    many = _IN_ENVIRONMENT if of == "environment" else {}
    act = many.get(action) or ACTION_LABELS.get(action, ActionLabel(plain, plain, plain))
    if action == "access.refused":
        return act.done
    if outcome == "denied":
        return f"was not allowed to {act.tried}"
    return f"failed to {act.tried}" if outcome == "failed" else act.done
