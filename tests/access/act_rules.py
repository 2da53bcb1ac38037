"""Who may do each act, on whichever face: the rows of the access matrices that are about acts.

It is written by hand and not derived from the declarations. An act without a rule fails.
"""

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class ActRule:
    """Who may do an act: the least role on its object, and administrators too if `operators` is set.

    `ok` is the answer of the API, `page` that of the page. `people`: no token may.
    """

    least: str
    ok: int = 200
    operators: bool = False
    people: bool = False
    # A grant for the prefix of the secret, or of the target's scope, suffices.
    part: bool = False
    body: Any = None
    page: int = 302
    form: dict[str, Any] | None = None


ACTS: Final[dict[tuple[str, str], ActRule]] = {
    ("secret", "restore"): ActRule("editor"),
    ("secret", "purge"): ActRule("manager", 204, form={"typed": "part/key"}),
    ("secret", "guard"): ActRule("manager"),
    ("secret", "make_decoy"): ActRule("manager"),
    # It is no decoy: nothing is done.
    ("secret", "end_decoy"): ActRule("manager", 409),
    # It is not guarded: nothing is asked for, and nothing is done.
    ("secret", "unguard"): ActRule("manager", 409),
    ("secret", "request_read"): ActRule("reader", 409, body={"reason": "for the access matrix"}, form={"reason": "for the access matrix"}),
    ("secret", "rollback"): ActRule("editor", body={"version": 1}, form={"version": "1"}),
    ("secret", "rename"): ActRule("editor", body={"name": "part/renamed"}),
    ("secret", "copy"): ActRule("editor", 201, body={"environment_id": "{environment_id}", "name": "part/copied"}),
    ("secret", "move"): ActRule("editor", 201, body={"environment_id": "{environment_id}", "name": "part/moved"}),
    ("secret", "delete"): ActRule("editor"),
    ("target", "test"): ActRule("manager"),
    ("target", "pause"): ActRule("manager", operators=True),
    ("target", "resume"): ActRule("manager", operators=True),
    # It would connect to another system: this body is refused before.
    ("target", "credentials"): ActRule("manager", 400, body={"credentials": {"unknown": "x"}}),
    ("target", "system"): ActRule("manager", 502, body={"system": "vault/another"}),
    ("target", "plan"): ActRule("editor", 202, part=True, body={}),
    ("target", "sync"): ActRule("editor", 202, part=True),
    ("target", "adopt"): ActRule("manager", 202, body={"names": ["part/key"], "mode": "replace"}),
    ("target", "disconnect"): ActRule("manager", 202, body={"mode": "leave"}),
    ("target", "remove"): ActRule("manager"),
    ("plan", "apply"): ActRule("editor", 202, part=True),
    ("plan", "resolve"): ActRule("editor", 202, part=True, body={"choice": "keep_ours"}),
    ("rotation", "credentials"): ActRule("manager", body={"credentials": {}}),
    ("rotation", "suspend"): ActRule("manager", operators=True),
    ("rotation", "resume"): ActRule("manager", operators=True),
    ("rotation", "rotate"): ActRule("editor", 202, body={"reason": "leaked"}),
    ("rotation", "dry_run"): ActRule("editor"),
    ("rotation", "logins"): ActRule("editor"),
    # The digest of no difference: a generated value has no logins.
    ("rotation", "align"): ActRule("manager", body={"expected": "7e09e12aa56148fe200ce1876b8e72ad40e7e50e10f52fd9c8f81959d37f2b69"}),
    ("rotation", "remove"): ActRule("manager"),
    ("rotation", "retry"): ActRule("editor"),
    ("rotation", "roll_back"): ActRule("editor"),
    ("rotation", "abandon"): ActRule("editor"),
    # Nothing was left behind there.
    ("rotation", "retire"): ActRule("editor", 409),
    ("rotation", "cut_grace"): ActRule("manager"),
    ("approval", "refuse"): ActRule("manager", operators=True, people=True, body={}),
    ("approval", "comment"): ActRule("manager", operators=True, form={"text": "why?"}),
    # The requester does these, and nobody else.
    ("approval", "withdraw"): ActRule("another", page=403),
    ("approval", "explain"): ActRule("another", page=403),
    ("access-request", "grant"): ActRule("manager", operators=True, people=True, body={"role": "viewer"}),
    ("access-request", "refuse"): ActRule("manager", operators=True, people=True, body={}),
    ("access-request", "withdraw"): ActRule("another", page=403),
    # Nothing is decided there, so that nothing can be signed off.
    ("review", "sign"): ActRule("nobody", 409, operators=True, people=True, body={}),
    ("review", "cancel"): ActRule("nobody", operators=True, people=True, body={"comment": "over"}, form={"comment": "over"}),
    ("person", "disable"): ActRule("nobody", operators=True),
    ("person", "enable"): ActRule("nobody", operators=True),
    ("person", "reset_mfa"): ActRule("nobody", operators=True),
    ("person", "end_sessions"): ActRule("nobody", operators=True),
    # There is no mail server: they lead back with the reason.
    ("person", "invite"): ActRule("nobody", operators=True),
    ("person", "invite_withdraw"): ActRule("nobody", operators=True),
    ("person", "offboard"): ActRule("nobody", operators=True),
    ("member", "revoke"): ActRule("manager", operators=True),
    ("token", "revoke"): ActRule("manager", operators=True),
    ("admin-token", "revoke"): ActRule("nobody", operators=True),
    ("trust", "fetch_keys"): ActRule("manager", operators=True),
    ("trust", "delete"): ActRule("manager", operators=True),
    ("message", "retry"): ActRule("manager", operators=True),
    ("recipient", "test"): ActRule("manager", 202, operators=True),
    ("recipient", "remove"): ActRule("manager", operators=True),
    ("webhook", "test"): ActRule("manager", 202, operators=True),
    ("webhook", "remove"): ActRule("manager", operators=True),
}  # fmt: skip
