"""What clients ask of the server itself: its health, its mounts, and what a token may do."""

from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from core.canonical_json import Json
from environments_app.authorization.policy import Principal, allows
from environments_app.errors import Invisible
from gateway_app.kv2.answers import Kv2Error, envelope, respond
from gateway_app.kv2.mounts import (
    OWN,
    environment_of,
    mount_facts,
    mount_of_path,
    mounted,
    name_of,
    place_of,
)
from gateway_app.kv2.views import Kv2View, OpenView, body_of
from secrets_app.queries.lookup import can_in_any_scope

_CLUSTER: Final = "keeper"
_DISABLED: Final = "disabled"
# The words of the protocol for what a role may do with a value; and with the other paths of a secret.
_CAPABILITIES: Final = (
    ("create", Action.SECRET_CREATE),
    ("delete", Action.SECRET_DELETE),
    ("patch", Action.SECRET_UPDATE),
    ("read", Action.SECRET_REVEAL),
    ("update", Action.SECRET_UPDATE),
)
_BY_KIND: Final = {
    "config": (("read", Action.ENVIRONMENT_VIEW), ("update", Action.ENVIRONMENT_UPDATE)),
    "data": _CAPABILITIES,
    "delete": (("update", Action.SECRET_DELETE),),
    "destroy": (("update", Action.SECRET_DESTROY),),
    # Metadata belongs to a secret that has a version: there is nothing to create.
    "metadata": (
        ("delete", Action.SECRET_DELETE),
        ("list", Action.SECRET_VIEW),
        ("patch", Action.SECRET_UPDATE),
        ("read", Action.SECRET_VIEW),
        ("scan", Action.SECRET_VIEW),
        ("update", Action.SECRET_UPDATE),
    ),
    "subkeys": (("read", Action.SECRET_REVEAL),),
    "undelete": (("update", Action.SECRET_RESTORE),),
}
_NOTHING: Final = ["deny"]
# What any token may do with paths of no mount, but for the children of a person's.
_CREATE: Final = "auth/token/create"
_OF_ANY_TOKEN: Final = {
    path: words.split()
    for words, paths in {
        "list read": ("auth/token/accessors",),
        "read update": ("auth/token/lookup-self", "sys/wrapping/lookup"),
        "read": (
            "sys/auth", "sys/health", "sys/init", "sys/internal/ui/mounts", "sys/internal/ui/resultant-acl",
            "sys/leader", "sys/mounts", "sys/seal-status",
        ),
        "update": (
            _CREATE, "auth/token/lookup", "auth/token/lookup-accessor",
            "auth/token/renew", "auth/token/renew-self", "auth/token/renew-accessor",
            "auth/token/revoke", "auth/token/revoke-self", "auth/token/revoke-accessor",
            "auth/approle/login", "auth/jwt/login", "auth/kubernetes/login",
            "sys/capabilities-self", "sys/control-group/request", "sys/wrapping/unwrap",
        ),
    }.items()
    for path in paths
}  # fmt: skip
_LOGINS: Final = "database/static-creds/"
_OF_MOUNTS: Final = ("sys/mounts/", "sys/internal/ui/mounts/")
_METHODS: Final = ("token", "approle", "jwt", "kubernetes")
_LEASES: Final[dict[str, Json]] = {"default_lease_ttl": 0, "force_no_cache": False, "max_lease_ttl": 0}
_LISTS: Final = frozenset({"list", "scan"})
_MAX_PATHS: Final = 100


class HealthView(OpenView):
    """Whether the server serves; it is never sealed, or it would not answer."""

    def get(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return the state of the server."""
        return respond(
            {
                "initialized": True,
                "sealed": False,
                "standby": False,
                "performance_standby": False,
                "replication_performance_mode": _DISABLED,
                "replication_dr_mode": _DISABLED,
                "server_time_utc": int(timezone.now().timestamp()),
                "version": version("keeper"),
                "cluster_name": _CLUSTER,
                "cluster_id": "",
            }
        )


class SealStatusView(OpenView):
    """What `status` prints."""

    def get(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return that the server is open."""
        return respond(
            {
                "type": "keeper",
                "initialized": True,
                "sealed": False,
                "t": 1,
                "n": 1,
                "progress": 0,
                "nonce": "",
                "version": version("keeper"),
                "build_date": "",
                "migration": False,
                "cluster_name": _CLUSTER,
                "cluster_id": "",
                "recovery_seal": True,
                "storage_type": "database",
            }
        )


class InitView(OpenView):
    """Whether the server has been set up."""

    def get(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return that it has."""
        return respond({"initialized": True})


class LeaderView(OpenView):
    """Which server leads: each does."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Return this one."""
        address = request.build_absolute_uri("/vault")
        return respond(
            {
                "ha_enabled": False,
                "is_self": True,
                "leader_address": address,
                "leader_cluster_address": address,
                "performance_standby": False,
                "performance_standby_last_remote_wal": 0,
            }
        )


class AllMountsView(Kv2View):
    """The mounts that the token may see, as those who list them ask."""

    def get(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return each by its path."""
        return _at_both_places(_mounts(self.actor))


class AuthMethodsView(Kv2View):
    """The ways to sign in."""

    def get(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return each by its path."""
        return _at_both_places({f"{kind}/": _method_facts(kind) for kind in _METHODS})


class TuneView(Kv2View):
    """How a mount is tuned."""

    def get(self, request: HttpRequest, mount: str) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return that it is not."""
        _, environment = mount_of_path(self.actor, mount)
        tuned = {**_LEASES, "description": environment.display_name, "options": {"version": "2"}}
        return respond({**envelope(tuned), **tuned})


class AclView(Kv2View):
    """What the token may do at all."""

    def get(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return the words of the protocol for each mount, or for the part that a grant reaches."""
        exact: dict[str, Json] = {}
        below: dict[str, Json] = {}
        for mount, environment in mounted(self.actor).items():
            grants = [grant for grant in self.actor.grants if grant.environment_id == environment.pk]
            starts = [f"{mount}/{kind}/" for kind in _BY_KIND if kind != "config"]
            if mount == OWN:
                starts.append(_LOGINS)
            for prefix in {grant.prefix for grant in grants}:
                for start in starts:
                    path = f"{start}{prefix}"
                    words: Json = {"capabilities": [*_capabilities(self.actor, path)]}
                    below[f"{path}/" if prefix else path] = words
                    if prefix:
                        exact[path] = words
            exact[f"{mount}/config"] = {"capabilities": [*_capabilities(self.actor, f"{mount}/config")]}
        return respond(envelope({"root": False, "exact_paths": exact, "glob_paths": below}))


class MountsView(Kv2View):
    """The mounts that the token may see."""

    def get(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return each, as the preflight of clients does."""
        return respond(envelope({"auth": {"token/": _method_facts("token")}, "secret": _mounts(self.actor)}))


class MountView(Kv2View):
    """The mount that a path lies in."""

    def get(self, request: HttpRequest, path: str) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return its facts, as the protocol names them."""
        return respond(envelope(mount_facts(*mount_of_path(self.actor, path))))


class CapabilitiesView(Kv2View):
    """What the token may do with paths."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Return the words of the protocol for each path."""
        body = body_of(request)
        paths = [str(each) for each in _listed(body.get("paths") or body.get("path"))]
        if len(paths) > _MAX_PATHS:
            raise Kv2Error(HTTPStatus.BAD_REQUEST, f"at most {_MAX_PATHS} paths in one request")
        found: dict[str, Json] = {path: [*_capabilities(self.actor, path)] for path in paths}
        first: Json = found[paths[0]] if paths else [*_NOTHING]
        return respond({**envelope({"capabilities": first, **found}), "capabilities": first, **found})

    put = post


def _mounts(actor: Principal) -> dict[str, Json]:
    return {f"{name}/": mount_facts(name, each) for name, each in mounted(actor).items()}


def _method_facts(kind: str) -> Json:
    return {
        "accessor": f"auth_{kind}",
        "config": {**_LEASES, "token_type": "default-service"},
        "description": "",
        "external_entropy_access": False,
        "local": False,
        "options": None,
        "plugin_version": "",
        "running_plugin_version": f"v{version('keeper')}",
        "running_sha256": "",
        "seal_wrap": False,
        "type": kind,
        "uuid": str(uuid5(NAMESPACE_URL, f"keeper/auth/{kind}")),
    }


def _at_both_places(found: dict[str, Json]) -> HttpResponse:
    """Return an answer whose members older clients read beside `data`."""
    return respond({**found, **envelope(found)})


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given] if given else []


def _capabilities(actor: Principal, path: str) -> list[str]:
    path = path.strip("/")
    if path == _CREATE and actor.kind is ActorKind.USER:
        return _NOTHING
    if path in _OF_ANY_TOKEN:
        return _OF_ANY_TOKEN[path]
    mount, _, rest = path.partition("/")
    kind, _, name = rest.partition("/")
    try:
        for start in _OF_MOUNTS:
            if path.startswith(start):
                mount_of_path(actor, path.removeprefix(start))
                return ["read"]
        if f"{path}/".startswith(_LOGINS):
            return _login_capabilities(actor, path.removeprefix(_LOGINS.rstrip("/")).lstrip("/"))
        environment, name = place_of(actor, mount, name)
    except (Invisible, Kv2Error):
        return _NOTHING
    # Names are listed in any folder: those that the actor may see.
    lists = kind == "metadata" and can_in_any_scope(actor, Action.SECRET_VIEW, environment)
    return [
        word
        for word, act in _BY_KIND.get(kind, ())
        if (lists and word in _LISTS) or allows(actor, act, environment_id=environment.pk, name=name)
    ] or _NOTHING


def _login_capabilities(actor: Principal, path: str) -> list[str]:
    """Return what a token may do with a login that rotation serves. Raises Invisible, Kv2Error."""
    environment, name = environment_of(actor, OWN), name_of(path)
    needed = (Action.ROTATION_VIEW, Action.SECRET_REVEAL)
    may = all(allows(actor, act, environment_id=environment.pk, name=name) for act in needed)
    return ["read"] if may else _NOTHING
