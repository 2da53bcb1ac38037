"""The words and icons in which the pages speak of states, actions and kinds of secret."""

from typing import NamedTuple


class State(NamedTuple):
    """How one state looks: its icon, its word and which of the four state colours it takes."""

    icon: str
    word: str
    tone: str


# A state never stands by its colour alone: each has an icon and a word.
STATES: dict[str, State] = {
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
    "kept": State("pause", "left as it is", "quiet"),
    "different": State("not-equal", "different", "warn"),
    "only_left": State("left", "only here", "info"),
    "only_right": State("right", "only there", "quiet"),
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
    "asked": State("clock", "waits for a second person", "info"),
    "granted": State("check", "granted", "ok"),
    "unanswered": State("clock", "waits for a manager", "info"),
    "approved": State("check", "approved", "ok"),
    "withdrawn": State("undo", "withdrawn", "quiet"),
    "carried_out": State("check", "carried out", "ok"),
}


class Act(NamedTuple):
    """What an action is called once it was done, and when it was only tried."""

    done: str
    tried: str


# So that a line of activity reads "alice revealed payments/db".
ACTS: dict[str, Act] = {
    "environment.view": Act("looked at environment", "look at environment"),
    "environment.create": Act("created environment", "create environment"),
    "environment.update": Act("changed environment", "change environment"),
    "environment.delete": Act("deleted environment", "delete environment"),
    "member.view": Act("looked at members of", "look at members of"),
    "member.grant": Act("granted access to", "grant access to"),
    "member.change": Act("changed access of", "change access of"),
    "member.revoke": Act("revoked access of", "revoke access of"),
    "member.expire": Act("let access end of", "let access end of"),
    "member.break_glass": Act("broke the glass for", "break the glass for"),
    "access.suspend": Act("suspended access of", "suspend access of"),
    "access.confirm": Act("confirmed access of", "confirm access of"),
    "access.ask": Act("asked for access to", "ask for access to"),
    "access.decide": Act("answered who asked for access to", "answer who asked for access to"),
    "access.withdraw": Act("no longer asks for access to", "no longer ask for access to"),
    "access.expire": Act("left unanswered who asked for access to", "leave unanswered who asked for"),
    "token.view": Act("looked at tokens of", "look at tokens of"),
    "token.issue": Act("issued token", "issue token"),
    "token.change": Act("changed token", "change token"),
    "token.revoke": Act("revoked token", "revoke token"),
    "user.view": Act("looked at person", "look at person"),
    "user.create": Act("created person", "create person"),
    "user.change": Act("changed person", "change person"),
    "user.offboard": Act("offboarded", "offboard"),
    "second_factor.change": Act("changed the second factor of", "change the second factor of"),
    "group.change": Act("changed group", "change group"),
    "saml_mapping.change": Act("changed what is granted to", "change what is granted to"),
    "saml_metadata.change": Act("read new metadata of", "read metadata of"),
    "secret.view": Act("looked at", "look at"),
    "secret.reveal": Act("revealed", "reveal"),
    "secret.export": Act("exported", "export"),
    "secret.create": Act("created", "create"),
    "secret.update": Act("wrote", "write"),
    "secret.rollback": Act("rolled back", "roll back"),
    "secret.rename": Act("renamed", "rename"),
    "secret.copy": Act("copied", "copy"),
    "secret.move": Act("moved", "move"),
    "secret.delete": Act("deleted", "delete"),
    "secret.restore": Act("restored", "restore"),
    "secret.purge": Act("purged", "purge"),
    "secret.compare": Act("compared", "compare"),
    "secret.share": Act("shared once", "share once"),
    "secret.share_open": Act("opened what was shared of", "open what was shared of"),
    "secret.share_revoke": Act("ended a share of", "end a share of"),
    "secret.import": Act("imported", "import"),
    "secret.inventory": Act("noted the older values of", "note the older values of"),
    "secret.deliver": Act("delivered secrets to", "deliver secrets to"),
    "secret.pull": Act("pulled secrets from", "pull secrets from"),
    "secret.stage": Act("wrote down the next value of", "write down the next value of"),
    "secret.rotate": Act("rotated", "rotate"),
    "secret.unstage": Act("dropped a value of", "drop a value of"),
    "rotation.view": Act("looked at the rotation of", "look at the rotation of"),
    "rotation.create": Act("put under rotation", "put under rotation"),
    "rotation.change": Act("changed the rotation of", "change the rotation of"),
    "rotation.suspend": Act("suspended or resumed the rotation of", "suspend or resume the rotation of"),
    "rotation.remove": Act("ended the rotation policy of", "end the rotation policy of"),
    "rotation.run": Act("asked for a rotation of", "ask for a rotation of"),
    "rotation.resolve": Act("settled a rotation of", "settle a rotation of"),
    "rotation.cut": Act("cut the grace of", "cut the grace of"),
    "rotation.acknowledge": Act("confirmed the version used of", "confirm the version used of"),
    "rotation.connect": Act("connected to rotate", "connect to rotate"),
    "rotation.step": Act("took a step in the rotation of", "take a step in the rotation of"),
    "rotation.alert": Act("raised an alert about the rotation of", "raise an alert about the rotation of"),
    "target.view": Act("looked at target", "look at target"),
    "target.create": Act("created target", "create target"),
    "target.change": Act("changed target", "change target"),
    "target.remove": Act("removed target", "remove target"),
    "target.pause": Act("paused or resumed target", "pause or resume target"),
    "target.test": Act("tested target", "test target"),
    "target.request": Act("asked for a run of target", "ask for a run of target"),
    "target.plan": Act("planned a sync with", "plan a sync with"),
    "target.apply": Act("synced with", "sync with"),
    "target.adopt": Act("adopted secrets of", "adopt secrets of"),
    "target.resolve": Act("settled a conflict at", "settle a conflict at"),
    "target.connect": Act("connected to", "connect to"),
    "target.alert": Act("raised an alert about", "raise an alert about"),
    "consent.view": Act("looked at consents of", "look at consents of"),
    "consent.give": Act("let values be filled in for", "let values be filled in for"),
    "consent.withdraw": Act("let no more values be filled in for", "let no more values be filled in for"),
    "notification.view": Act("looked at notifications of", "look at notifications of"),
    "notification.create": Act("added a notification to", "add a notification to"),
    "notification.remove": Act("removed a notification to", "remove a notification to"),
    "notification.test": Act("sent a test to", "send a test to"),
    "notification.choose": Act("chose what is mailed, in", "choose what is mailed, in"),
    "notification.send": Act("notified", "notify"),
    "approval.ask": Act("asked for approval of", "ask for approval of"),
    "approval.view": Act("looked at a request about", "look at a request about"),
    "approval.decide": Act("decided a request about", "decide a request about"),
    "approval.withdraw": Act("withdrew a request about", "withdraw a request about"),
    "approval.open": Act("opened what was proposed for", "open what was proposed for"),
    "approval.carry_out": Act("carried out what was approved of", "carry out what was approved of"),
    "approval.expire": Act("let a request expire about", "let a request expire about"),
    "session.sign_in": Act("signed in", "sign in"),
    "session.sign_out": Act("signed out", "sign out"),
    "session.end": Act("ended another session of", "end a session of"),
    "session.confirm": Act("signed in again as", "sign in again as"),
    "access.refused": Act("was refused", "be let in"),
    "integrity.sweep": Act("checked the integrity of", "check the integrity of"),
    "integrity.violation": Act("found damage in", "open"),
    "system.view": Act("looked at the health of", "look at the health of"),
    "system.check": Act("found in good health", "reach"),
    "process.restart": Act("restarted", "keep running"),
    "data_key.create": Act("created data key", "create data key"),
    "data_key.rotate": Act("rotated data key", "rotate data key"),
    "data_key.open": Act("opened data key", "open data key"),
    "data_key.check": Act("asked for a check of", "ask for a check of"),
    "key_migration.start": Act("started to migrate keys of", "migrate keys of"),
    "key_migration.finalise": Act("finalised the migration of keys of", "finalise the migration of keys of"),
    "key_migration.rollback": Act(
        "rolled back the migration of keys of", "roll back the migration of keys of"
    ),
    "trail.view": Act("read the trail of", "read the trail of"),
    "trail.verify": Act("verified the trail of", "verify the trail of"),
    "trail.export": Act("exported the trail of", "export the trail of"),
    "trail.prune": Act("took old events out, into", "take old events out, into"),
    "trail.resume": Act("resumed the trail without", "resume the trail without"),
    "stream.open": Act("opened the stream of", "open the stream of"),
    "report.generate": Act("made report", "make report"),
    "report.send": Act("sent by e-mail", "send by e-mail"),
    "backup.view": Act("looked at backups of", "look at backups of"),
    "backup.request": Act("asked for a backup, or its proof", "ask for a backup, or its proof"),
    "backup.create": Act("began backup", "begin backup"),
    "backup.finish": Act("finished backup", "finish backup"),
    "backup.verify": Act("proved backup", "prove backup"),
    "backup.remove": Act("removed backup", "remove backup"),
    "deployment.restore": Act("restored backup", "restore backup"),
    "restore.suspend": Act("suspended, after a restore,", "suspend"),
    "restore.release": Act("released, after a restore,", "release"),
    "deployment.activate": Act("made this the active installation of", "activate"),
    "configuration.change": Act("changed configuration of", "change configuration of"),
    "deployment.initialise": Act("initialised", "initialise"),
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
    "sans": "Names",
    "san_count": "Number of names",
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
    return STATES.get(name, State("dot", name.replace("_", " "), "quiet"))


def verb(action: str, outcome: str = "allowed") -> str:
    """Return `action`, as it turned out, in words that follow an actor's name."""
    plain = action.replace(".", " ").replace("_", " ")
    act = ACTS.get(action, Act(plain, plain))
    if outcome == "denied":
        return f"was not allowed to {act.tried}"
    return f"failed to {act.tried}" if outcome == "failed" else act.done
