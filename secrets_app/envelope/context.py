"""What an envelope is bound to: the place of one value, authenticated with it.

AAD = header | u16-length-prefixed: deployment uuid, label, row uuid, environment uuid, parent...
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final
from uuid import UUID

from secrets_app.envelope.format import MAX_PLAINTEXT_BYTES, MAX_SNAPSHOT_BYTES

# Labels are frozen strings, never model names: a renamed model must not kill its envelopes.
SECRET_VERSION_VALUE: Final = "secret-version.value"  # noqa: S105 - a label, no password
TARGET_CREDENTIALS: Final = "target.credentials"
ROTATOR_CREDENTIALS: Final = "rotator.credentials"
WEBHOOK_ADDRESS: Final = "webhook.address"
PENDING_VALUE: Final = "pending-value.value"
KEPT_COPY: Final = "kept-copy.value"
ENVIRONMENT_SNAPSHOT: Final = "environment-snapshot.values"

# The environment of rows that belong to the whole deployment.
NO_ENVIRONMENT: Final = UUID(int=0)
# The length prefixes of a uuid and of a version's number.
_UUID_LENGTH: Final = (16).to_bytes(2, "big")
_NUMBER_LENGTH: Final = (8).to_bytes(2, "big")


@dataclass(frozen=True, kw_only=True)
class Context:
    """The place of one value; an envelope opens with an equal context only.

    `parent` holds what the row itself belongs to, as bytes: for a secret's version what
    `version_parent` gives, for a credential the normalised endpoint it may be sent to.
    """

    deployment: UUID
    label: str
    row: UUID
    environment: UUID
    parent: tuple[bytes, ...] = ()

    @property
    def max_plaintext_bytes(self) -> int:
        """How much one envelope of this place may hold."""
        return MAX_SNAPSHOT_BYTES if self.label == ENVIRONMENT_SNAPSHOT else MAX_PLAINTEXT_BYTES

    @cached_property
    def binding(self) -> bytes:
        """What follows the header in the additional authenticated data."""
        return _prefixed(
            self.deployment.bytes,
            self.label.encode("ascii"),
            self.row.bytes,
            self.environment.bytes,
            *self.parent,
        )


class VersionAad:
    """The bindings of the versions of one environment; what these share is built once."""

    def __init__(self, *, deployment: UUID, environment: UUID) -> None:
        self._until_row = _prefixed(deployment.bytes, SECRET_VERSION_VALUE.encode("ascii")) + _UUID_LENGTH
        self._until_secret = _prefixed(environment.bytes) + _UUID_LENGTH

    def of(self, version: bytes, secret: bytes, number: int) -> bytes:
        """Return `Context.binding` of a version; the uuids as bytes."""
        return b"".join(
            (
                self._until_row,
                version,
                self._until_secret,
                secret,
                _NUMBER_LENGTH,
                number.to_bytes(8, "big"),
            )
        )


def _prefixed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def version_parent(*, secret: UUID, number: int) -> tuple[bytes, bytes]:
    """Return the parent of a secret's version: the secret's uuid and the number, 8 bytes big-endian."""
    return secret.bytes, number.to_bytes(8, "big")
