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
    "unmanaged": State("dashed", "unmanaged", "quiet"),
    "failed": State("cross", "failed", "bad"),
    "paused": State("pause", "paused", "quiet"),
    "allowed": State("check", "allowed", "ok"),
    "denied": State("block", "denied", "bad"),
    "ok": State("check", "healthy", "ok"),
    "unhealthy": State("cross", "unhealthy", "bad"),
    "current": State("check", "current", "ok"),
    "active": State("check", "active", "ok"),
    "expiring": State("clock", "expiring", "warn"),
    "expired": State("alert", "expired", "bad"),
    "overdue": State("alert", "overdue", "bad"),
    "revoked": State("block", "revoked", "quiet"),
    "deleted": State("trash", "deleted", "bad"),
    "protected": State("lock", "protected", "quiet"),
}

# Past tense, so that a line of activity reads "alice revealed payments/db".
VERBS: dict[str, str] = {
    "environment.view": "looked at environment",
    "environment.create": "created environment",
    "environment.update": "changed environment",
    "environment.delete": "deleted environment",
    "member.view": "looked at members of",
    "member.grant": "granted access to",
    "member.change": "changed access of",
    "member.revoke": "revoked access of",
    "member.break_glass": "granted themselves access to",
    "token.view": "looked at tokens of",
    "token.issue": "issued token",
    "token.change": "changed token",
    "token.revoke": "revoked token",
    "user.view": "looked at person",
    "user.create": "created person",
    "user.change": "changed person",
    "group.change": "changed group",
    "secret.view": "looked at",
    "secret.reveal": "revealed",
    "secret.export": "exported",
    "secret.create": "created",
    "secret.update": "wrote",
    "secret.rollback": "rolled back",
    "secret.rename": "renamed",
    "secret.copy": "copied",
    "secret.move": "moved",
    "secret.delete": "deleted",
    "secret.restore": "restored",
    "secret.purge": "purged",
    "secret.compare": "compared",
    "secret.import": "imported",
    "secret.generate": "generated a value for",
    "session.sign_in": "signed in",
    "session.sign_out": "signed out",
    "access.refused": "were refused",
    "integrity.violation": "integrity violation in",
    "data_key.create": "created data key",
    "data_key.rotate": "rotated data key",
    "data_key.open": "opened data key",
    "trail.view": "read the trail of",
    "trail.verify": "verified the trail of",
    "configuration.change": "changed configuration of",
    "deployment.initialise": "initialised",
}

# What a person is told when the same act was not allowed or did not succeed.
OUTCOME_PREFIXES: dict[str, str] = {"denied": "was denied: ", "failed": "failed: "}

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
    "has_private": "private key",
    "has_private_key": "private key",
    "sans": "names",
    "chain_length": "certificates",
}

# The palette an environment chooses from; its classes are in keeper.css (`env-green`, …).
ENVIRONMENT_COLOURS = (
    "slate", "blue", "teal", "green", "lime", "amber", "orange", "red", "pink", "violet",
)  # fmt: skip


def state(name: str) -> State:
    """Return how the state `name` looks; an unknown one is shown in its own words, quietly."""
    return STATES.get(name, State("dot", name.replace("_", " "), "quiet"))


def verb(action: str, outcome: str = "allowed") -> str:
    """Return `action` as words that follow an actor's name."""
    words = VERBS.get(action, action.replace(".", " ").replace("_", " "))
    return OUTCOME_PREFIXES.get(outcome, "") + words
