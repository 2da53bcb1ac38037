"""The words and icons in which the pages speak of states, actions and kinds of secret."""

from typing import NamedTuple


class State(NamedTuple):
    """How one state looks: its icon, its word and which of the four state colours it takes."""

    icon: str
    word: str
    tone: str


# A state never stands by its colour alone: each has an icon and a word.
STATUS: dict[str, State] = {
    "in_sync": State("check", "in sync", "ok"),
    "pending": State("clock", "pending", "info"),
    "drifted": State("not-equal", "drifted", "warn"),
    "conflict": State("alert", "conflict", "warn"),
    "missing": State("empty", "missing", "bad"),
    "ownership_lost": State("alert", "ownership lost", "bad"),
    "unmanaged": State("dashed", "unmanaged", "quiet"),
    "failed": State("cross", "failed", "bad"),
    "paused": State("pause", "paused", "quiet"),
    "refused": State("block", "refused", "warn"),
    "cannot_import": State("block", "can't import", "warn"),
    "skipped": State("block", "skipped", "quiet"),
    "sent": State("check", "sent", "ok"),
    "waiting": State("clock", "waiting", "info"),
    "allowed": State("check", "allowed", "ok"),
    "denied": State("block", "denied", "bad"),
    "ok": State("check", "healthy", "ok"),
    "unhealthy": State("cross", "unhealthy", "bad"),
    "degraded": State("alert", "needs attention", "warn"),
    "unasked": State("clock", "not asked lately", "warn"),
    "off": State("dashed", "not set up", "quiet"),
    "current": State("check", "current", "ok"),
    "new": State("plus", "new", "ok"),
    "changed": State("edit", "changed", "info"),
    "same": State("check", "same", "quiet"),
    "kept": State("pause", "skipped", "quiet"),
    "different": State("not-equal", "different", "warn"),
    "only_left": State("left", "only on the left", "info"),
    "only_right": State("right", "only on the right", "quiet"),
    "done": State("check", "done", "ok"),
    "not_done": State("cross", "not done", "bad"),
    "active": State("check", "active", "ok"),
    "expiring": State("clock", "expiring", "warn"),
    "expired": State("alert", "expired", "bad"),
    "overdue": State("alert", "overdue", "bad"),
    "revoked": State("block", "revoked", "quiet"),
    "deleted": State("trash", "deleted", "bad"),
    "reads": State("check", "yes", "ok"),
    "reads_not": State("block", "no", "quiet"),
    "disabled": State("block", "disabled", "quiet"),
    "stands": State("alert", "still stands", "warn"),
    "replaced": State("check", "replaced since", "ok"),
    "unused": State("empty", "unused", "warn"),
    "suspended": State("pause", "suspended", "warn"),
    "rotating": State("clock", "rotating", "info"),
    "grace": State("clock", "in its grace", "info"),
    "stopped": State("alert", "stopped", "bad"),
    "due": State("clock", "due", "info"),
    "scheduled": State("check", "scheduled", "ok"),
    "by_hand": State("dot", "by hand", "quiet"),
    "rolled_back": State("block", "rolled back", "warn"),
    "abandoned": State("block", "abandoned", "quiet"),
    "protected": State("lock", "protected", "quiet"),
    "asked": State("clock", "pending approval", "info"),
    "granted": State("check", "granted", "ok"),
    "unanswered": State("clock", "pending review", "info"),
    "approved": State("check", "approved", "ok"),
    "withdrawn": State("undo", "canceled", "quiet"),
    "carried_out": State("check", "applied", "ok"),
}


class ActionLabel(NamedTuple):
    """What an action is called once it was done, and when it was only tried."""

    done: str
    tried: str


# So that a line of activity reads "alice revealed payments/db".
ACTION_LABELS: dict[str, ActionLabel] = {
    "environment.view": ActionLabel("looked at environment", "look at environment"),
    "environment.create": ActionLabel("created environment", "create environment"),
    "environment.update": ActionLabel("changed environment", "change environment"),
    "environment.delete": ActionLabel("deleted environment", "delete environment"),
    "member.view": ActionLabel("looked at members of", "look at members of"),
    "member.grant": ActionLabel("granted access to", "grant access to"),
    "member.change": ActionLabel("changed access of", "change access of"),
    "member.revoke": ActionLabel("revoked access of", "revoke access of"),
    "member.expire": ActionLabel("let access end of", "let access end of"),
    "member.break_glass": ActionLabel("broke the glass for", "break the glass for"),
    "access.suspend": ActionLabel("suspended access of", "suspend access of"),
    "access.confirm": ActionLabel("confirmed access of", "confirm access of"),
    "access.ask": ActionLabel("asked for access to", "ask for access to"),
    "access.decide": ActionLabel("answered who asked for access to", "answer who asked for access to"),
    "access.withdraw": ActionLabel("no longer asks for access to", "no longer ask for access to"),
    "access.expire": ActionLabel("left unanswered who asked for access to", "leave unanswered who asked for"),
    "token.view": ActionLabel("looked at tokens of", "look at tokens of"),
    "token.issue": ActionLabel("issued token", "issue token"),
    "token.change": ActionLabel("changed token", "change token"),
    "token.revoke": ActionLabel("revoked token", "revoke token"),
    "user.view": ActionLabel("looked at person", "look at person"),
    "user.create": ActionLabel("created person", "create person"),
    "user.change": ActionLabel("changed person", "change person"),
    "user.offboard": ActionLabel("offboarded", "offboard"),
    "second_factor.change": ActionLabel("changed the second factor of", "change the second factor of"),
    "group.change": ActionLabel("changed group", "change group"),
    "saml_mapping.change": ActionLabel("changed what is granted to", "change what is granted to"),
    "saml_metadata.change": ActionLabel("read new metadata of", "read metadata of"),
    "secret.view": ActionLabel("looked at", "look at"),
    "secret.reveal": ActionLabel("revealed", "reveal"),
    "secret.export": ActionLabel("exported", "export"),
    "secret.create": ActionLabel("created", "create"),
    "secret.update": ActionLabel("wrote", "write"),
    "secret.rollback": ActionLabel("rolled back", "roll back"),
    "secret.rename": ActionLabel("renamed", "rename"),
    "secret.copy": ActionLabel("copied", "copy"),
    "secret.move": ActionLabel("moved", "move"),
    "secret.delete": ActionLabel("deleted", "delete"),
    "secret.restore": ActionLabel("restored", "restore"),
    "secret.purge": ActionLabel("purged", "purge"),
    "secret.compare": ActionLabel("compared", "compare"),
    "secret.share": ActionLabel("shared once", "share once"),
    "secret.share_open": ActionLabel("opened what was shared of", "open what was shared of"),
    "secret.share_revoke": ActionLabel("ended a share of", "end a share of"),
    "secret.import": ActionLabel("imported", "import"),
    "secret.inventory": ActionLabel("noted the older values of", "note the older values of"),
    "secret.deliver": ActionLabel("delivered secrets to", "deliver secrets to"),
    "secret.pull": ActionLabel("pulled secrets from", "pull secrets from"),
    "secret.stage": ActionLabel("wrote down the next value of", "write down the next value of"),
    "secret.rotate": ActionLabel("rotated", "rotate"),
    "secret.unstage": ActionLabel("dropped a value of", "drop a value of"),
    "rotation.view": ActionLabel("looked at the rotation of", "look at the rotation of"),
    "rotation.create": ActionLabel("put under rotation", "put under rotation"),
    "rotation.change": ActionLabel("changed the rotation of", "change the rotation of"),
    "rotation.suspend": ActionLabel(
        "suspended or resumed the rotation of", "suspend or resume the rotation of"
    ),
    "rotation.remove": ActionLabel("ended the rotation policy of", "end the rotation policy of"),
    "rotation.run": ActionLabel("asked for a rotation of", "ask for a rotation of"),
    "rotation.resolve": ActionLabel("settled a rotation of", "settle a rotation of"),
    "rotation.cut": ActionLabel("cut the grace of", "cut the grace of"),
    "rotation.acknowledge": ActionLabel("confirmed the version used of", "confirm the version used of"),
    "rotation.connect": ActionLabel("connected to rotate", "connect to rotate"),
    "rotation.step": ActionLabel("took a step in the rotation of", "take a step in the rotation of"),
    "rotation.alert": ActionLabel(
        "raised an alert about the rotation of", "raise an alert about the rotation of"
    ),
    "target.view": ActionLabel("looked at target", "look at target"),
    "target.create": ActionLabel("created target", "create target"),
    "target.change": ActionLabel("changed target", "change target"),
    "target.remove": ActionLabel("removed target", "remove target"),
    "target.pause": ActionLabel("paused or resumed target", "pause or resume target"),
    "target.test": ActionLabel("tested target", "test target"),
    "target.request": ActionLabel("asked for a run of target", "ask for a run of target"),
    "target.plan": ActionLabel("planned a sync with", "plan a sync with"),
    "target.apply": ActionLabel("synced with", "sync with"),
    "target.adopt": ActionLabel("adopted secrets of", "adopt secrets of"),
    "target.resolve": ActionLabel("settled a conflict at", "settle a conflict at"),
    "target.connect": ActionLabel("connected to", "connect to"),
    "target.alert": ActionLabel("raised an alert about", "raise an alert about"),
    "consent.view": ActionLabel("looked at consents of", "look at consents of"),
    "consent.give": ActionLabel("let values be filled in for", "let values be filled in for"),
    "consent.withdraw": ActionLabel(
        "let no more values be filled in for", "let no more values be filled in for"
    ),
    "notification.view": ActionLabel("looked at notifications of", "look at notifications of"),
    "notification.create": ActionLabel("added a notification to", "add a notification to"),
    "notification.remove": ActionLabel("removed a notification to", "remove a notification to"),
    "notification.test": ActionLabel("sent a test to", "send a test to"),
    "notification.choose": ActionLabel("chose what is mailed, in", "choose what is mailed, in"),
    "notification.send": ActionLabel("notified", "notify"),
    "approval.ask": ActionLabel("asked for approval of", "ask for approval of"),
    "approval.view": ActionLabel("looked at a request about", "look at a request about"),
    "approval.decide": ActionLabel("decided a request about", "decide a request about"),
    "approval.withdraw": ActionLabel("withdrew a request about", "withdraw a request about"),
    "approval.open": ActionLabel("opened what was proposed for", "open what was proposed for"),
    "approval.carry_out": ActionLabel("carried out what was approved of", "carry out what was approved of"),
    "approval.expire": ActionLabel("let a request expire about", "let a request expire about"),
    "session.sign_in": ActionLabel("signed in", "sign in"),
    "session.sign_out": ActionLabel("signed out", "sign out"),
    "session.end": ActionLabel("ended another session of", "end a session of"),
    "session.confirm": ActionLabel("signed in again as", "sign in again as"),
    "access.refused": ActionLabel("was refused", "be let in"),
    "integrity.sweep": ActionLabel("checked the integrity of", "check the integrity of"),
    "integrity.violation": ActionLabel("found damage in", "open"),
    "system.view": ActionLabel("looked at the health of", "look at the health of"),
    "system.check": ActionLabel("found in good health", "reach"),
    "process.restart": ActionLabel("restarted", "keep running"),
    "data_key.create": ActionLabel("created data key", "create data key"),
    "data_key.rotate": ActionLabel("rotated data key", "rotate data key"),
    "data_key.open": ActionLabel("opened data key", "open data key"),
    "data_key.check": ActionLabel("asked for a check of", "ask for a check of"),
    "key_migration.start": ActionLabel("started to migrate keys of", "migrate keys of"),
    "key_migration.finalise": ActionLabel(
        "finalised the migration of keys of", "finalise the migration of keys of"
    ),
    "key_migration.rollback": ActionLabel(
        "rolled back the migration of keys of", "roll back the migration of keys of"
    ),
    "trail.view": ActionLabel("read the trail of", "read the trail of"),
    "trail.verify": ActionLabel("verified the trail of", "verify the trail of"),
    "trail.export": ActionLabel("exported the trail of", "export the trail of"),
    "trail.prune": ActionLabel("took old events out, into", "take old events out, into"),
    "trail.resume": ActionLabel("resumed the trail without", "resume the trail without"),
    "stream.open": ActionLabel("opened the stream of", "open the stream of"),
    "report.generate": ActionLabel("made report", "make report"),
    "report.send": ActionLabel("sent by e-mail", "send by e-mail"),
    "backup.view": ActionLabel("looked at backups of", "look at backups of"),
    "backup.request": ActionLabel("asked for a backup, or its proof", "ask for a backup, or its proof"),
    "backup.create": ActionLabel("began backup", "begin backup"),
    "backup.finish": ActionLabel("finished backup", "finish backup"),
    "backup.verify": ActionLabel("proved backup", "prove backup"),
    "backup.remove": ActionLabel("removed backup", "remove backup"),
    "deployment.restore": ActionLabel("restored backup", "restore backup"),
    "restore.suspend": ActionLabel("suspended, after a restore,", "suspend"),
    "restore.release": ActionLabel("released, after a restore,", "release"),
    "deployment.activate": ActionLabel("made this the active installation of", "activate"),
    "configuration.change": ActionLabel("changed configuration of", "change configuration of"),
    "deployment.initialise": ActionLabel("initialised", "initialise"),
}

TYPE_ICONS: dict[str, str] = {
    "PASSWORD": "asterisk",
    "API_KEY": "code",
    "SSH_KEY": "terminal",
    "CERTIFICATE": "ribbon",
    "JSON": "braces",
    "YAML": "list",
    "TEXT": "text",
}

FACT_LABELS: dict[str, str] = {
    "fingerprint_sha256": "SHA-256",
    "has_private": "Private key",
    "has_private_key": "Private key",
    "sans": "Subject alternative names",
    "self_issued": "Self-signed",
    "members": "Keys",
    "kind": "Type",
    "chain_length": "Certificates",
    "approle_mount": "AppRole mount",
    "sts_endpoint": "STS endpoint",
    "iam_endpoint": "IAM endpoint",
    "user_name": "IAM user",
    "kms_key_id": "KMS key",
    "role_arn": "Role to assume",
    "recovery_window_days": "Recovery window in days",
    "tls": "TLS",
    "ca_certificate": "CA certificate",
}

# The palette an environment chooses from; its classes are in keeper.css (`env-green`, …).
ENVIRONMENT_COLOURS = (
    "slate", "blue", "teal", "green", "lime", "amber", "orange", "red", "pink", "violet",
)  # fmt: skip


def state(name: str) -> State:
    """Return how the state `name` looks; an unknown one is shown in its own words, quietly."""
    return STATUS.get(name, State("dot", name.replace("_", " "), "quiet"))


# Acts on many secrets of an environment, where the words differ from those for one secret.
_IN_ENVIRONMENT = {"secret.create": ActionLabel("created secrets in", "create secrets in")}


def verb(action: str, outcome: str = "allowed", *, of: str = "") -> str:
    """Return `action`, as it turned out, in words that follow an actor's name; `of` is the kind of object."""
    plain = action.replace(".", " ").replace("_", " ")
    many = _IN_ENVIRONMENT if of == "environment" else {}
    act = many.get(action) or ACTION_LABELS.get(action, ActionLabel(plain, plain))
    if outcome == "denied":
        return f"was not allowed to {act.tried}"
    return f"failed to {act.tried}" if outcome == "failed" else act.done
