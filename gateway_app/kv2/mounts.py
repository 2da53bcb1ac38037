"""Which environment a mount is, and what a path under it names."""

import re
from http import HTTPStatus
from importlib.metadata import version
from typing import Final

from audit_app.events.actions import Action
from core.canonical_json import Json
from environments_app.authorization.policy import Principal, allows, visible_environments
from environments_app.environments.service import find_environment, find_environment_by_id
from environments_app.errors import Invisible
from environments_app.models import Environment
from gateway_app.kv2.answers import Kv2Error, missing
from secrets_app.models import Secret
from secrets_app.queries.lookup import find_secret_by_name, find_withdrawn
from secrets_app.values.names import validate_secret_name
from sync_app.migration.mounts import Mounted, find_mounted, is_of_another, rules_of

# What every tutorial mounts: here the environment of the token.
OWN: Final = "secret"
# What a name may hold (secrets_app/values/names.py); a path of Vault may hold anything that is printed.
_NAME: Final = re.compile(r"[A-Za-z0-9_.+=@/-]*")
_OTHER: Final = re.compile(r"[^A-Za-z0-9_.+=@/-]+")
_ENCODED: Final = re.compile(r"(?:=[0-9A-F]{2})+")
_NOT_PRINTABLE: Final = "a path has no control characters"
_NO_ACCESS: Final = (
    "preflight capability check returned 403, please ensure client's policies grant access to path"
)


def environment_of(actor: Principal, mount: str) -> Environment:
    """Return the environment of a mount. Raises Invisible."""
    own = actor.grants[0].environment_id if actor.grants else None
    if mount == OWN and own is not None and not _is_name(actor, mount):
        return find_environment_by_id(actor=actor, id=own)
    return find_environment(actor=actor, name=mount)


def place_of(actor: Principal, mount: str, path: str) -> tuple[Environment, str]:
    """Return the environment and the name that a path of a mount means. Raises Invisible.

    An environment of the mount's name comes first. Under `secret` a secret that the token's environment has
    at the very path comes before what came from an old mount (`MountRule`). Raises Kv2Error as `name_of`, and
    for a path of an old mount whose name here is another path's.
    """
    name = name_of(path)
    if not _is_name(actor, mount) and (found := find_mounted(actor, mount, path.rstrip("/"))):
        own = actor.grants[0].environment_id if actor.grants and mount == OWN else None
        if own is None or not _has(own, name) or is_of_another(own, mount, path.rstrip("/"), name):
            return _required(actor, found)
    return environment_of(actor, mount), name


def folder_of(actor: Principal, mount: str, path: str) -> tuple[Environment, str, Mounted | None]:
    """Return the environment and the name of a folder, and what it is of an old mount; None if of none.

    Raises Invisible, and Kv2Error as `name_of`.
    """
    name = name_of(path)
    if not _is_name(actor, mount) and (found := find_mounted(actor, mount, path, folder=True)):
        own = actor.grants[0].environment_id if actor.grants and mount == OWN else None
        if own is None or not _has(own, name):
            return found.environment, found.name, found
    return environment_of(actor, mount), name, None


def _required(actor: Principal, found: Mounted) -> tuple[Environment, str]:
    if found.is_there:
        return found.environment, found.name
    if allows(actor, Action.SECRET_VIEW, environment_id=found.environment.pk, name=found.name):
        raise missing()
    # Who may not know of the name does not learn whether it is there.
    raise Invisible


def _has(environment_id: int, path: str) -> bool:
    return Secret.objects.filter(environment_id=environment_id, name=path, live=True).exists()


def _is_name(actor: Principal, mount: str) -> bool:
    return Environment.objects.filter(visible_environments(actor), name=mount).exists()


def mounted(actor: Principal) -> dict[str, Environment]:
    """Return the environments that the actor may see by the names of their mounts."""
    found = {each.name: each for each in Environment.objects.filter(visible_environments(actor))}
    for rule in rules_of(actor):
        found.setdefault(rule.mount, rule.environment)
    if actor.grants:
        found.setdefault(OWN, environment_of(actor, OWN))
    return found


def mount_facts(name: str, environment: Environment) -> dict[str, Json]:
    """Return the facts of a mount, as the protocol names them."""
    return {
        "accessor": f"kv_{environment.uuid.hex[:8]}",
        "config": {"default_lease_ttl": 0, "force_no_cache": False, "max_lease_ttl": 0},
        "deprecation_status": "supported",
        "description": environment.display_name,
        "external_entropy_access": False,
        "local": False,
        "options": {"version": "2"},
        "path": f"{name}/",
        "plugin_version": "",
        "running_plugin_version": f"v{version('keeper')}",
        "running_sha256": "",
        "seal_wrap": False,
        "type": "kv",
        "uuid": str(environment.uuid),
    }


def mount_of_path(actor: Principal, path: str) -> tuple[str, Environment]:
    """Return the mount that a path lies in, and its environment. Raises Kv2Error."""
    name = path.partition("/")[0]
    if not _is_name(actor, name) and name != OWN and (rules := rules_of(actor, name)):
        return name, rules[0].environment
    try:
        return name, environment_of(actor, name)
    except Invisible as error:
        raise Kv2Error(HTTPStatus.FORBIDDEN, f'{_NO_ACCESS} "{name}/"') from error


def known_at(actor: Principal, environment: Environment, path: str) -> Secret | None:
    """Return the secret of a path, also one that is deleted because its current version is; None for none.

    Raises BadName, TamperedSecret, and Invisible if the actor may not know of it.
    """
    try:
        return secret_at(actor, environment, path)
    except Kv2Error:
        return find_withdrawn(environment, path)


def name_of(path: str) -> str:
    """Return the name that a path has in Keeper: bytes of UTF-8 that no name has become `=20` and the like.

    A path that could be a name is one, also `a=20b`. Raises Kv2Error for control characters.
    """
    path = path.rstrip("/")
    if _NAME.fullmatch(path):
        return path
    if not path.isprintable():
        raise Kv2Error(HTTPStatus.BAD_REQUEST, _NOT_PRINTABLE)
    return _OTHER.sub(lambda found: "".join(f"={byte:02X}" for byte in found[0].encode()), path)


def path_of(name: str) -> str:
    """Return the path by which a client wrote the secret of a name; the name if nothing was encoded."""
    try:
        path = _ENCODED.sub(lambda found: bytes.fromhex(found[0].replace("=", "")).decode(), name)
    except UnicodeDecodeError:
        return name
    # Another text that only looks encoded stays as it is.
    return path if path.isprintable() and _OTHER.sub("", path) != path and name_of(path) == name else name


def secret_at(actor: Principal, environment: Environment, path: str) -> Secret:
    """Return the living secret of a name.

    Raises Kv2Error if there is none, BadName, and Invisible if the actor may not know of it.
    """
    name = validate_secret_name(path)
    try:
        return find_secret_by_name(actor=actor, environment=environment, name=name)
    except Invisible as error:
        if allows(actor, Action.SECRET_VIEW, environment_id=environment.pk, name=name):
            raise missing() from error
        raise
