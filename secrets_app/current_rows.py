"""Reads the current versions of an environment as plain rows: the hot path of an export.

A thousand pairs of model instances cost several times what opening their values does. Each row
is checked and bound to its place exactly as the models do it; a test holds them together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import F

from audit_app.canonical import Json
from audit_app.errors import UnauthenticatableValue
from audit_app.keyring import Purpose, keyring
from audit_app.record import ManifestEntry
from audit_app.row_mac import mac_message
from environments_app.models import Environment
from secrets_app.fields import Sealed
from secrets_app.models import Secret, SecretVersion
from secrets_app.models.secret import version_context

# What the query itself has fixed is not read again.
_FIXED: Final = ("environment.uuid", "live")
_COVERED: Final = tuple(path for path in Secret.MAC_COVERS if path not in _FIXED)
_COVERED_IF_SET: Final = Secret.MAC_COVERS_IF_SET
_ROWS_PER_FETCH: Final = 1_000
_COLUMNS: Final = (
    "uuid",
    "number",
    "data_key_id",
    "value",
    "secret__uuid",
    "secret__name",
    "secret__row_mac",
)


@dataclass(slots=True)
class CurrentRow:
    """A living secret with its current version, still sealed."""

    environment: UUID
    version: UUID
    number: int
    data_key: UUID
    stored: Sealed
    secret: UUID
    name: str
    row_mac: object
    covered: Sequence[Json]

    @property
    def manifest_entry(self) -> ManifestEntry:
        """How the manifest of a read lists this."""
        return ManifestEntry(secret_uuid=self.secret, number=self.number, name=self.name)

    @property
    def sealed(self) -> Sealed:
        """The value, bound to its place."""
        context = version_context(
            version=self.version, secret=self.secret, number=self.number, environment=self.environment
        )
        return self.stored.bound(context)

    def is_authentic(self) -> bool:
        """Say whether the covered columns are those that Keeper wrote, as `Secret.is_authentic`."""
        if not isinstance(self.row_mac, bytes):
            # SQLite keeps what it is given.
            return False
        covered: dict[str, Json] = {"environment.uuid": str(self.environment), "live": True}
        always = len(_COVERED)
        covered.update(zip(_COVERED, self.covered[:always], strict=True))
        later = zip(_COVERED_IF_SET, self.covered[always:], strict=True)
        covered.update((path, value) for path, value in later if value not in {None, ""})
        try:
            message = mac_message(Secret.MAC_LABEL, self.secret, covered)
        except UnauthenticatableValue:
            return False
        return keyring().verify(Purpose.ROW_MAC, message, self.row_mac)


def current_rows(environment: Environment, prefix: str) -> Iterator[CurrentRow]:
    """Yield the living secrets of an environment in the order of names, from `prefix` on."""
    rows = SecretVersion.objects.filter(
        secret__environment=environment, secret__live=True, number=F("secret__current_number")
    )
    if prefix:
        rows = rows.filter(secret__name__gte=prefix, secret__name__lt=f"{prefix}0")
    paths = (*_COVERED, *_COVERED_IF_SET)
    columns = rows.order_by("secret__name").values_list(*_COLUMNS, *(f"secret__{path}" for path in paths))
    for row in columns.iterator(chunk_size=_ROWS_PER_FETCH):
        version, number, data_key, sealed, secret, name, mac, *covered = row
        yield CurrentRow(environment.uuid, version, number, data_key, sealed, secret, name, mac, covered)
