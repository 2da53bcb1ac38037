"""The words in which pages speak of recorded actions: their headings, names and verbs."""

from typing import Final

from audit_app.events.actions import Action

ACTIONS: Final = {action.value: action for action in Action}
# The headings of the list of actions, each with how the names of its actions begin.
GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "Secrets": ("secret",),
    "Access": (
        "access", "approval", "group", "member", "saml_mapping", "saml_metadata", "scim_client",
        "second_factor", "session", "sso_provider", "token", "trust", "user",
    ),
    "Environments": ("environment", "notification"),
    "Sync": ("target", "consent"),
    "Rotation": ("rotation",),
    "Keys": ("data_key", "key_migration"),
    "Audit and backups": ("trail", "list", "stream", "report", "backup", "integrity"),
}  # fmt: skip
SYSTEM: Final = "System"
HEADINGS: Final = (*GROUPS, SYSTEM)


def group_of(action: str) -> str:
    """Return the heading under which lists of choices show an action."""
    subject = action.partition(".")[0]
    return next((heading for heading, subjects in GROUPS.items() if subject in subjects), SYSTEM)


def action_name(action: str) -> str:
    """Return an action as a noun: "Secret revealed"."""
    known = ACTIONS.get(action)
    return known.label if known else action.replace(".", " ").replace("_", " ").capitalize()


def imperative(action: str) -> str:
    """Return an action in words that follow "to": "revoke token"."""
    known = ACTIONS.get(action)
    return known.tried if known else action.replace(".", " ").replace("_", " ")


def verb(action: str, outcome: str = "allowed", *, of: str = "") -> str:
    """Return `action`, as it turned out, in words that follow an actor's name; `of` is the kind of object."""
    known = ACTIONS.get(action)
    plain = action.replace(".", " ").replace("_", " ")
    done, tried = (known.done, known.tried) if known else (plain, plain)
    if known is Action.SECRET_CREATE and of == "environment":
        done, tried = "created secrets in", "create secrets in"
    if outcome == "denied" and known is not Action.REFUSAL:
        return f"was not allowed to {tried}"
    return f"failed to {tried}" if outcome == "failed" and known is not Action.REFUSAL else done
