"""What Keeper holds for a target: the current version of each secret in its scope, without values."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import F, FilteredRelation, Q

from audit_app.row_mac import report_violation
from environments_app.models import Environment
from secrets_app.models import Secret
from sync_app.reconcile import Presence, Side
from sync_app.sources import Resolution, resolutions

_ROWS_AT_A_TIME: Final = 1000
_NAMES_AT_A_TIME: Final = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """One secret of Keeper, as a pass looks at it.

    `version` tells it from the same one with another value, or with another value in what it refers
    to; `fingerprint` stays in here.
    """

    name: str
    presence: Presence
    secret_uuid: UUID
    version: str
    version_uuid: UUID | None
    number: int
    # Empty where references are filled in: what is delivered is not what is stored.
    fingerprint: bytes
    resolution: Resolution | None = None

    @property
    def side(self) -> Side:
        """Return Keeper's side for `reconcile`."""
        return Side(presence=self.presence, version=self.version)


def held(environment: Environment, *, scope: str = "") -> Iterator[Held]:
    """Yield the living secrets of an environment under a prefix; their rows are checked one by one.

    A secret whose row was not written by Keeper, or whose current version is gone, is yielded as
    unreadable: it must never be taken for deleted.
    """
    yield from _held(environment, under(scope))


def held_of(environment: Environment, names: Collection[str]) -> dict[str, Held]:
    """Return the living secrets of these names."""
    found = {}
    ordered = sorted(names)
    for start in range(0, len(ordered), _NAMES_AT_A_TIME):
        chunk = ordered[start : start + _NAMES_AT_A_TIME]
        found.update({each.name: each for each in _held(environment, Q(name__in=chunk))})
    return found


def under(scope: str) -> Q:
    """Return the condition on names that lie under a prefix, by whole segments; "0" follows "/"."""
    return Q(name=scope) | Q(name__gte=f"{scope}/", name__lt=f"{scope}0") if scope else Q()


def lies_under(scope: str, name: str) -> bool:
    """Say whether a name lies under a prefix, by whole segments."""
    return not scope or name == scope or name.startswith(f"{scope}/")


def _held(environment: Environment, condition: Q) -> Iterator[Held]:
    rows = (
        Secret.objects.filter(condition, environment=environment, live=True)
        .annotate(
            current=FilteredRelation("versions", condition=Q(versions__number=F("current_number"))),
            current_uuid=F("current__uuid"),
            current_fingerprint=F("current__fingerprint"),
        )
        .order_by("name")
    )
    resolving = []
    for secret in rows.iterator(chunk_size=_ROWS_AT_A_TIME):
        # One object for all, so that no row asks for its environment again.
        secret.environment = environment
        if secret.resolves_references:
            resolving.append(secret)
        else:
            yield _seen(secret)
    if resolving:
        found = resolutions(resolving)
        for secret in resolving:
            yield _seen(secret, found[secret.uuid])


def _seen(secret: Secret, resolution: Resolution | None = None) -> Held:
    version: UUID | None = secret.current_uuid  # type: ignore[attr-defined]  # annotated
    readable = version is not None and secret.is_authentic()
    if not readable:
        reason = "the secret's row was not written by Keeper, or its current version is gone"
        report_violation(kind="secret", uuid=secret.uuid, name=secret.name, reason=reason)
    return Held(
        name=secret.name,
        presence=Presence.PRESENT if readable else Presence.UNREADABLE,
        secret_uuid=secret.uuid,
        version=_version(version, resolution),
        version_uuid=version,
        number=secret.current_number,
        fingerprint=b"" if resolution else bytes(secret.current_fingerprint or b""),  # type: ignore[attr-defined]  # annotated
        resolution=resolution,
    )


def _version(own: UUID | None, resolution: Resolution | None) -> str:
    if own is None:
        return ""
    return resolution.version(own) if resolution else own.hex
