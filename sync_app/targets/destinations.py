"""Which place in which system a target is, and that no two targets share one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from audit_app.events.actions import Action
from audit_app.models import Deployment
from environments_app.authorization.policy import Principal, allows
from environments_app.models import Environment
from sync_app.backends.base import Backend
from sync_app.backends.registry import BACKENDS
from sync_app.errors import BadDestination, DestinationTaken, SystemMismatch
from sync_app.models import Target

_ENVIRONMENT: Final = "{environment}"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A place in a system, in the one spelling by which overlaps are found.

    Case is folded although both systems distinguish it: two targets that differ in nothing else
    are a mistake.
    """

    system: str
    place: str

    def overlaps(self, place: str) -> bool:
        """Return whether another place of the system is this one, below it, or above it."""
        mine, other = _split_path(self.place), _split_path(place)
        shared = min(len(mine), len(other))
        return mine[:shared] == other[:shared]


def backend_class(kind: str) -> type[Backend]:
    """Return the backend of this name. Raises BadDestination."""
    try:
        return BACKENDS[kind]
    except KeyError:
        raise BadDestination(f"choose one of {', '.join(BACKENDS)}", field="backend") from None


def expand_names(kind: str, destination: Mapping[str, str], environment: Environment) -> dict[str, str]:
    """Return a destination with the environment's name for `{environment}` in what locates the secrets.

    So one description of a target serves every environment. Raises BadDestination for an unknown kind.
    """
    fixed = {field.name for field in backend_class(kind).destination_fields if field.fixed}
    return {
        name: text.replace(_ENVIRONMENT, str(environment.name)) if name in fixed else text
        for name, text in destination.items()
    }


def identify(backend: Backend) -> Identity:
    """Ask a system which one it is. Raises BackendError."""
    identity = Identity(
        system=backend.identify_system().casefold(), place=backend.path_prefix.strip("/").casefold()
    )
    field: Any = Target._meta.get_field("system")
    limit = int(field.max_length)
    if len(identity.system) > limit:
        raise BadDestination(f"namespace and mount are longer than {limit} characters", field="mount")
    return identity


def system_id(target: Target) -> str:
    """Return which system a target was made for, as its backend names it today."""
    kind = BACKENDS.get(target.backend)
    return kind.normalize_system_id(target.system, target.destination) if kind else str(target.system)


def require_same_system(target: Target, backend: Backend) -> None:
    """Ask the system which one it is, before anything else is asked of it.

    Raises SystemMismatch where it is not the one that the target was made for, such as another cluster behind
    the same address after a failover; another BackendError if it does not answer.
    """
    found = identify(backend)
    if (found.system, found.place) != (system_id(target), target.place):
        raise SystemMismatch(
            f"this is {found.system}, and the target was made for {target.system}: nothing was read or "
            "written there. Have the address lead to the right system again; for another system make "
            "another target"
        )


def refuse_overlap(identity: Identity, *, actor: Principal) -> None:
    """Refuse a place that a living target covers, or that covers one.

    Call it in the transaction that stores the new target: it holds a lock until the end of it,
    so that of two who claim one place at once the second finds the first. Raises DestinationTaken.
    """
    Deployment.objects.select_for_update().get()
    if sentence := describe_overlap(identity, actor=actor):
        raise DestinationTaken(sentence)


def describe_overlap(identity: Identity, *, actor: Principal) -> str:
    """Return a sentence about the active target that covers a place or a part of it; empty without one."""
    others = Target.objects.filter(live=True).select_related("environment").defer("credentials")
    for other in others:
        if system_id(other) == identity.system and identity.overlaps(other.place):
            seen = allows(actor, Action.TARGET_VIEW, environment_id=other.environment_id, name=other.scope)
            named = f"target {other.name} of {other.environment.name}" if seen else "another target"
            return (
                f"{named} covers this destination or a part of it: "
                "choose another prefix, or disconnect that one first"
            )
    return ""


def overlapping_targets() -> Iterator[tuple[Target, Target]]:
    """Yield each living target that covers a place of an older one, or a part of it, with that one."""
    targets = Target.objects.filter(live=True).select_related("environment").defer("credentials")
    older: dict[str, list[Target]] = {}
    for target in targets.order_by("pk"):
        place = Identity(system=system_id(target), place=str(target.place))
        for other in older.setdefault(place.system, []):
            if place.overlaps(other.place):
                yield target, other
        older[place.system].append(target)


def _split_path(place: str) -> list[str]:
    return [segment for segment in place.split("/") if segment]
