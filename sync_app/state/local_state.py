"""What Keeper holds for a target: current versions in its scope without values, and selection by tags.

A target that selects by tags delivers the secrets whose tags prove that Keeper stored them. A database
writer could add a tag, and so have a value delivered, or remove one, and so have a copy deleted. Neither
follows from a tag whose MAC is not valid (see ADR 32).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

from django.db.models import F, FilteredRelation, Q

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import NIL
from audit_app.integrity.row_authentication import record_integrity_violation
from audit_app.models import AuditEvent
from audit_app.recording.drafts import ManifestEntry
from core.db.bulk import in_batches
from environments_app.models import Environment
from secrets_app.models import Secret, SecretVersion, has_valid_tags_mac
from secrets_app.rows.current_versions import PlainRow, plain_rows_of, plain_rows_under
from sync_app.domain.reconciliation import Presence, Side
from sync_app.models import Target
from sync_app.state.references import Resolution, load_resolutions

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
    guarded: bool = False

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
    elsewhere = (secret.environment_id, secret.name) != (environment.pk, name)
    # One that became a decoy counts as deleted.
    return not secret.live or bool(secret.decoy) or elsewhere


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
                guarded=current.guarded,
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
        guarded=bool(secret.guarded),
    )


SELECTED: Final = "selected by its tags"
LEFT_OUT: Final = "not selected by its tags"
UNPROVED: Final = "Keeper did not store its present tags: check them and save them on the secret's page"


class TagVerdict(StrEnum):
    """What the tags of a secret mean for a target."""

    SELECTED = "selected"
    LEFT_OUT = "left out"
    # No tag of the target's, and none that Keeper stored: what was never delivered is left out.
    UNTAGGED = "untagged"
    UNPROVED = "unproved"


def judge_tags(target: Target, secrets: Iterable[LocalSecret]) -> dict[UUID, TagVerdict]:
    """Return the verdict on each secret, by its uuid; nothing for a target without tags."""
    if not target.tags:
        return {}
    wanted, uuids = set(target.tags), [each.secret_uuid for each in secrets]
    found = dict.fromkeys(uuids, TagVerdict.UNPROVED)
    for some in in_batches(uuids):
        rows = Secret.objects.filter(uuid__in=some)
        for uuid, tags, mac in rows.values_list("uuid", "tags", "tags_mac"):
            found[uuid] = _judge(uuid, tags, mac, wanted)
    return found


def has_selected(target: Target) -> bool:
    """Return whether Keeper has any secret that the target delivers."""
    secrets = target.environment.secrets.filter(in_scope(str(target.scope)), live=True)
    if not target.tags:
        return secrets.exists()
    wanted = set(target.tags)
    rows = secrets.values_list("uuid", "tags", "tags_mac").iterator()
    return any(_judge(uuid, tags, mac, wanted) is TagVerdict.SELECTED for uuid, tags, mac in rows)


def is_selected(target: Target, secret: Secret) -> bool:
    """Return whether a target delivers a secret of its scope."""
    return is_tagged_for(target, secret.tags) and (not target.tags or secret.proves_tags())


def is_tagged_for(target: Target, tags: Iterable[str]) -> bool:
    """Return whether tags select a secret, as far as they are shown; whether they are proved is not asked."""
    return not target.tags or not set(target.tags).isdisjoint(tags)


def _judge(uuid: UUID, tags: Iterable[str], mac: bytes | memoryview, wanted: set[str]) -> TagVerdict:
    is_wanted = not wanted.isdisjoint(tags)
    if has_valid_tags_mac(uuid, tags, mac):
        return TagVerdict.SELECTED if is_wanted else TagVerdict.LEFT_OUT
    return TagVerdict.UNPROVED if is_wanted or mac else TagVerdict.UNTAGGED
