"""What Keeper holds for a target: the current version of each secret in its scope, without values."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from django.db.models import F, FilteredRelation, Q

from audit_app.db.batches import in_batches
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import NIL
from audit_app.integrity.row_authentication import record_integrity_violation
from audit_app.models import AuditEvent
from audit_app.recording.drafts import ManifestEntry
from environments_app.models import Environment
from secrets_app.models import Secret, SecretVersion
from secrets_app.persistence.current_version_rows import PlainRow, plain_rows_of, plain_rows_under
from sync_app.domain.reconciliation import Presence, Side
from sync_app.state.reference_graph import Resolution, load_resolutions

LOST: Final = "it is gone from Keeper, which did not delete it: have an operator run verify_audit"
_HEX_DIGITS: Final = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalSecret:
    """One secret of Keeper, as a pass looks at it.

    `version` distinguishes it from the same secret with another value, also in its references;
    `fingerprint` stays in here.
    """

    name: str
    presence: Presence
    secret_uuid: UUID
    version: str
    version_uuid: UUID | None
    number: int
    # Empty where references are filled in: what is delivered is not what is stored.
    fingerprint: bytes
    secret_type: str = ""
    resolution: Resolution | None = None
    # The current value, sealed, as far as it was read along.
    envelope: bytes = field(default=b"", repr=False)

    @property
    def manifest_entry(self) -> ManifestEntry:
        return ManifestEntry(secret_uuid=str(self.secret_uuid), number=self.number, name=self.name)

    @property
    def as_side(self) -> Side:
        return Side(presence=self.presence, version=self.version)


def list_local(environment: Environment, *, scope: str = "") -> Iterator[LocalSecret]:
    """Yield the living secrets of an environment under a prefix; their rows are checked one by one.

    A secret whose row was not written by Keeper, or whose current version is gone, is yielded as
    unreadable: it must never be taken for deleted.
    """
    # Rows that their models must verify are integers, and the condition finds them again.
    rows = (
        row
        for row in plain_rows_under(environment, scope)
        if isinstance(row, int) or is_in_scope(scope, row.current.name)
    )
    yield from _convert_rows(environment, rows, in_scope(scope))


def find_local(environment: Environment, names: Collection[str]) -> dict[str, LocalSecret]:
    """Return the living secrets of these names, with their values sealed."""
    found = {}
    for chunk in in_batches(sorted(names)):
        rows = plain_rows_of(environment, chunk)
        found.update({each.name: each for each in _convert_rows(environment, rows, Q(name__in=chunk))})
    return found


def find_unexplained_losses(environment: Environment, gone: Mapping[str, UUID | None]) -> set[str]:
    """Return which names, of secrets that are not there by name, Keeper itself did not vacate.

    `gone` is name → uuid of the secret. It was deleted or renamed if its authentic row records that,
    and purged if the audit log records that. Anything else is a loss, not a deletion.
    """
    found = set()
    for chunk in in_batches(sorted(gone.items())):
        uuids = [uuid for _, uuid in chunk if uuid is not None]
        rows = Secret.objects.select_related("environment").filter(uuid__in=uuids)
        stored = {secret.uuid: secret for secret in rows}
        purges = AuditEvent.objects.filter(
            action=Action.SECRET_PURGE,
            outcome=Outcome.ALLOWED,
            object_uuid__in=set(uuids) - stored.keys(),
        )
        purged = set(purges.values_list("object_uuid", flat=True))
        found |= {
            name
            for name, uuid in chunk
            if uuid not in purged and not _is_vacated(stored.get(uuid or NIL), environment, name)
        }
    return found


def _is_vacated(secret: Secret | None, environment: Environment, name: str) -> bool:
    if secret is None or not secret.is_authentic():
        return False
    return not secret.live or (secret.environment_id, secret.name) != (environment.pk, name)


def load_fingerprints(versions: Iterable[str]) -> dict[str, bytes]:
    """Return the fingerprints of versions as `LocalSecret` names them; substituted values have none."""
    uuids = [UUID(version) for version in versions if not is_substituted(version)]
    found: dict[str, bytes] = {}
    for chunk in in_batches(uuids):
        rows = SecretVersion.objects.filter(uuid__in=chunk)
        found |= {uuid.hex: bytes(known) for uuid, known in rows.values_list("uuid", "fingerprint")}
    return found


def is_substituted(version: str) -> bool:
    """Return whether a version, as `LocalSecret` names it, is one that references were filled in to."""
    # A longer name includes what contributed to a value (see `Resolution.delivered_version`).
    return len(version) != _HEX_DIGITS


def in_scope(scope: str) -> Q:
    """Return the condition on names that lie under a prefix, by whole segments; "0" follows "/"."""
    return Q(name=scope) | Q(name__gte=f"{scope}/", name__lt=f"{scope}0") if scope else Q()


def is_in_scope(scope: str, name: str) -> bool:
    """Return whether a name lies under a prefix, by whole segments."""
    return not scope or name == scope or name.startswith(f"{scope}/")


def _convert_rows(
    environment: Environment, rows: Iterable[PlainRow | int], condition: Q
) -> Iterator[LocalSecret]:
    """Yield the secrets of rows, by their models where a row is not enough or other secrets contribute."""
    others = []
    for row in rows:
        if isinstance(row, int):
            others.append(row)
        elif row.resolves_as:
            others.append(row.pk)
        else:
            current = row.current
            yield LocalSecret(
                name=current.name,
                presence=Presence.PRESENT,
                secret_uuid=UUID(current.secret),
                version=current.version.hex(),
                version_uuid=UUID(bytes=current.version),
                number=current.number,
                fingerprint=row.fingerprint,
                secret_type=row.secret_type,
                envelope=current.envelope,
            )
    for chunk in in_batches(others):
        yield from _verify_models(environment, Q(pk__in=chunk) & condition)


def _verify_models(environment: Environment, condition: Q) -> Iterator[LocalSecret]:
    rows = list(
        Secret.objects.filter(condition, environment=environment, live=True)
        .annotate(
            current=FilteredRelation("versions", condition=Q(versions__number=F("current_number"))),
            current_uuid=F("current__uuid"),
            current_fingerprint=F("current__fingerprint"),
        )
        .order_by("name")
    )
    for secret in rows:
        # One object for all, so that no row asks for its environment again.
        secret.environment = environment
    found = load_resolutions([secret for secret in rows if secret.uses_references])
    for secret in rows:
        yield _convert_model(secret, found.get(secret.uuid))


def _convert_model(secret: Secret, resolution: Resolution | None = None) -> LocalSecret:
    version: UUID | None = secret.current_uuid  # type: ignore[attr-defined]  # annotated
    readable = version is not None and secret.is_authentic()
    if not readable:
        reason = "the secret's row was not written by Keeper, or its current version is gone"
        record_integrity_violation(kind="secret", uuid=secret.uuid, name=secret.name, reason=reason)
    delivered = version.hex if version else ""
    if version and resolution:
        delivered = resolution.delivered_version(version)
    return LocalSecret(
        name=secret.name,
        presence=Presence.PRESENT if readable else Presence.UNREADABLE,
        secret_uuid=secret.uuid,
        version=delivered,
        version_uuid=version,
        number=secret.current_number,
        fingerprint=b"" if resolution else bytes(secret.current_fingerprint or b""),  # type: ignore[attr-defined]  # annotated
        secret_type=secret.secret_type,
        resolution=resolution,
    )
