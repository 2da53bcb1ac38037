"""What clients ask of the server itself: its health, its mounts, and what a token may do."""

from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from audit_app.events.actions import Action
from core.canonical_json import Json
from environments_app.authorization.policy import Principal, allows
from environments_app.errors import Invisible
from gateway_app.kv2.answers import Kv2Error, envelope, respond
from gateway_app.kv2.mounts import environment_of, mount_facts, mount_of_path, mounted
from gateway_app.kv2.views import Kv2View, OpenView, body_of

_CLUSTER: Final = "keeper"
_DISABLED: Final = "disabled"
# The words of the protocol for what a role may do with a value; and with its name.
_CAPABILITIES: Final = (
    ("create", Action.SECRET_CREATE),
    ("delete", Action.SECRET_DELETE),
    ("patch", Action.SECRET_UPDATE),
    ("read", Action.SECRET_REVEAL),
    ("update", Action.SECRET_UPDATE),
)
_OF_NAMES: Final = (("list", Action.SECRET_VIEW), ("read", Action.SECRET_VIEW))
_NOTHING: Final = ["deny"]
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


class MountsView(Kv2View):
    """The mounts that the token may see."""

    def get(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return each, as the preflight of clients does."""
        found: dict[str, Json] = {
            f"{name}/": mount_facts(name, each) for name, each in mounted(self.actor).items()
        }
        return respond(envelope({"auth": {}, "secret": found}))


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


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given] if given else []


def _capabilities(actor: Principal, path: str) -> list[str]:
    mount, _, rest = path.strip("/").partition("/")
    kind, _, name = rest.partition("/")
    try:
        environment = environment_of(actor, mount)
    except Invisible:
        return _NOTHING
    asked = {"data": _CAPABILITIES, "metadata": _OF_NAMES, "subkeys": _CAPABILITIES[3:4]}.get(kind, ())
    return [
        word for word, act in asked if allows(actor, act, environment_id=environment.pk, name=name)
    ] or _NOTHING
