"""Which place in which system a target is, and that no two targets share one."""

from dataclasses import dataclass
from typing import Any

from audit_app.actions import Action
from audit_app.models import Deployment
from environments_app.policy import Principal, allows
from sync_app.backends import BACKENDS
from sync_app.backends.base import Backend
from sync_app.errors import BadDestination, DestinationTaken
from sync_app.models import Target


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A place in a system, in the one spelling by which overlaps are found.

    Case is folded although both systems tell it apart: two targets that differ in nothing else
    are a mistake.
    """

    system: str
    place: str

    def overlaps(self, place: str) -> bool:
        """Say whether another place of the system is this one, below it, or above it."""
        mine, other = _segments(self.place), _segments(place)
        shared = min(len(mine), len(other))
        return mine[:shared] == other[:shared]


def backend_of(kind: str) -> type[Backend]:
    """Return the backend of this name. Raises BadDestination."""
    try:
        return BACKENDS[kind]
    except KeyError:
        raise BadDestination(f"choose one of {', '.join(BACKENDS)}", field="backend") from None


def identify(backend: Backend) -> Identity:
    """Ask a system which one it is. Raises BackendError."""
    identity = Identity(system=backend.system().casefold(), place=backend.place.strip("/").casefold())
    limit = _max_length("system")
    if len(identity.system) > limit:
        raise BadDestination(f"namespace and mount are longer than {limit} characters", field="mount")
    return identity


def refuse_overlap(identity: Identity, *, actor: Principal) -> None:
    """Refuse a place that a living target covers, or that covers one.

    Call it in the transaction that stores the new target: it holds a lock until the end of it,
    so that of two who claim one place at once the second finds the first. Raises DestinationTaken.
    """
    Deployment.objects.select_for_update().get()
    if sentence := overlap_sentence(identity, actor=actor):
        raise DestinationTaken(sentence)


def overlap_sentence(identity: Identity, *, actor: Principal) -> str:
    """Say which living target covers a place, or a part of it; nothing if none does."""
    others = Target.objects.filter(system=identity.system, live=True).select_related("environment")
    for other in others.defer("credentials"):
        if identity.overlaps(other.place):
            return (
                f"{_named(other, actor)} covers this destination or a part of it: "
                "choose another prefix, or disconnect that one first"
            )
    return ""


def _named(target: Target, actor: Principal) -> str:
    """Name a target to those who may see it."""
    seen = allows(actor, Action.TARGET_VIEW, environment_id=target.environment_id, name=target.scope)
    return f"target {target.name} of {target.environment.name}" if seen else "another target"


def _segments(place: str) -> list[str]:
    return [segment for segment in place.split("/") if segment]


def _max_length(column: str) -> int:
    field: Any = Target._meta.get_field(column)
    return int(field.max_length)
