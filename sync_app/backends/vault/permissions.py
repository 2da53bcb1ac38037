"""The capabilities that the sync needs in Vault, which a token may ask about itself.

See Vault's API, "/sys/capabilities-self".
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sync_app.backends.capabilities import Grant, Need, Permission

# A name that stands for all names below the prefix.
SAMPLE: Final = "keeper-connection-test"
_NEEDED: Final[tuple[tuple[str, str, str, Need], ...]] = (
    ("metadata", "", "list", Need.READ),
    ("metadata", SAMPLE, "read", Need.READ),
    ("data", SAMPLE, "read", Need.READ),
    ("metadata", SAMPLE, "create", Need.WRITE),
    ("metadata", SAMPLE, "update", Need.WRITE),
    ("data", SAMPLE, "create", Need.WRITE),
    ("data", SAMPLE, "update", Need.WRITE),
    ("undelete", SAMPLE, "update", Need.WRITE),
    ("delete", SAMPLE, "update", Need.DELETE),
    ("detailed-metadata", "", "list", Need.SPEED),
    ("config", "", "read", Need.SPEED),
    ("destroy", SAMPLE, "update", Need.SPEED),
)
_NOTES: Final = {
    "detailed-metadata": "OpenBao only: without it, a list costs one read a secret",
    "config": "without it, each secret is read before it is written over",
    "destroy": "without it, a person has to destroy what came over a secret that was not Keeper's",
}


def paths_to_check(mount: str, start: str) -> list[str]:
    """Return the paths to ask about; `start` is the prefix with its slash."""
    return list(dict.fromkeys(_path(mount, kind, start, name) for kind, name, _, _ in _NEEDED))


def parse_capabilities(mount: str, start: str, answer: Mapping[str, Any] | None) -> Iterator[Permission]:
    """Yield each capability with Vault's answer; None: no answer."""
    for kind, name, capability, need in _NEEDED:
        path = _path(mount, kind, start, name)
        shown = f"{capability} on {_path(mount, kind, start, '*' if name else '')}"
        if answer is None:
            note = "the token may not ask: allow update on sys/capabilities-self"
            yield Permission(name=shown, need=need, grant=Grant.UNPROVEN, note=note)
            continue
        held = answer.get(path) or ()
        has = "root" in held or (capability in held and "deny" not in held)
        grant = Grant.GRANTED if has else Grant.MISSING
        yield Permission(name=shown, need=need, grant=grant, note="" if has else _NOTES.get(kind, ""))


def _path(mount: str, kind: str, start: str, name: str) -> str:
    return f"{mount}/config" if kind == "config" else f"{mount}/{kind}/{start}{name}"
