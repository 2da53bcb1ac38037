"""The words and icons in which the pages speak of states and kinds of secret."""

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
    "unknown": State("clock", "not seen yet", "warn"),
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
    "unasked": State("clock", "stale", "warn"),
    "off": State("dashed", "not set up", "quiet"),
    "current": State("check", "current", "ok"),
    "new": State("plus", "new", "ok"),
    "changed": State("edit", "changed", "info"),
    "same": State("check", "same", "quiet"),
    "kept": State("pause", "skipped", "quiet"),
    "different": State("not-equal", "different", "warn"),
    "only_left": State("left", "only on the left", "info"),
    "only_right": State("right", "only on the right", "quiet"),
    "open": State("alert", "open", "warn"),
    "closed": State("check", "over", "quiet"),
    "done": State("check", "done", "ok"),
    "not_done": State("cross", "not done", "bad"),
    "active": State("check", "active", "ok"),
    "locked": State("lock", "locked", "warn"),
    "expiring": State("clock", "expiring", "warn"),
    "expired": State("alert", "expired", "bad"),
    "overdue": State("alert", "overdue", "bad"),
    "guarded": State("lock", "guarded", "info"),
    "decoy": State("bell", "decoy", "warn"),
    "revoked": State("block", "revoked", "quiet"),
    "deleted": State("trash", "deleted", "bad"),
    "destroyed": State("trash", "destroyed", "bad"),
    "reads": State("check", "yes", "ok"),
    "reads_not": State("block", "no", "quiet"),
    "disabled": State("block", "disabled", "quiet"),
    "stands": State("alert", "still valid", "warn"),
    "replaced": State("check", "rotated", "ok"),
    "unused": State("empty", "unused", "warn"),
    "suspended": State("pause", "suspended", "warn"),
    "rotating": State("clock", "rotating", "info"),
    "grace": State("clock", "overlapping", "info"),
    "stopped": State("alert", "failed", "bad"),
    "due": State("clock", "due", "info"),
    "scheduled": State("check", "scheduled", "ok"),
    "by_hand": State("dot", "manual", "quiet"),
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
    "recovery_window_days": "Recovery window (days)",
    "tls": "TLS",
    "ca_certificate": "CA certificate",
}

# The palette an environment chooses from; its classes are in frame.css (`env-green`, …).
ENVIRONMENT_COLOURS = (
    "slate", "blue", "teal", "green", "lime", "amber", "orange", "red", "pink", "violet",
)  # fmt: skip


def state(name: str) -> State:
    """Return how the state `name` looks; an unknown one is shown in its own words, quietly."""
    return STATUS.get(name, State("dot", name.replace("_", " "), "quiet"))
