"""Opens many values of one environment under one receipt: what they share is built and looked up once.

It gives what `Sealed.open` gives. Whatever it cannot open is left to that, which decides again,
reports and raises; a test holds the two together.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from audit_app.models import deployment_uuid
from audit_app.recording.drafts import Receipt
from secrets_app.envelope import seal
from secrets_app.envelope.context import VersionAad
from secrets_app.envelope.format import DATA_KEY_ID, MIN_ENVELOPE_BYTES, check
from secrets_app.envelope.seal import PlainKey
from secrets_app.errors import EnvelopeError, KeyRefused
from secrets_app.keys.data_keys import plain_key
from secrets_app.keys.encrypted_field import Sealed, require_proof, require_proofs
from secrets_app.models.secret import version_context
from secrets_app.persistence.current_version_rows import CurrentRow


class EnvironmentValues:
    """The values of an environment's versions, to be opened under a committed receipt, or sealed again.

    A data key is taken from the cache once, and kept as long as this is.
    """

    def __init__(self, environment: UUID, receipt: Receipt) -> None:
        self._environment = environment
        self._receipt = receipt
        self._bindings = VersionAad(deployment=deployment_uuid(), environment=environment)
        self._keys: dict[bytes, PlainKey] = {}

    def opened(self, stored: bytes, *, version: UUID, secret: UUID, number: int) -> bytes:
        """Return the value of a version; raises as `Sealed.open` does."""
        require_proof(self._receipt, version)
        return self._opened(stored, version.bytes, secret.bytes, number)

    def opened_all(self, rows: Sequence[CurrentRow]) -> list[bytes]:
        """Return the values of versions in their order; raises as `opened` does."""
        require_proofs(self._receipt, [row.version for row in rows])
        return [
            self._opened(stored, version, bytes.fromhex(secret.replace("-", "")), number)
            for version, secret, _, number, stored, _ in rows
        ]

    def _opened(self, stored: bytes, version: bytes, secret: bytes, number: int) -> bytes:
        try:
            check(stored)
            key = self._keys.get(stored[DATA_KEY_ID]) or self._taken(stored[DATA_KEY_ID])
            binding = self._bindings.of(version, secret, number)
            return seal.open_bound(stored, data_key=key, binding=binding)
        except (EnvelopeError, KeyRefused):
            context = version_context(
                version=UUID(bytes=version),
                secret=UUID(bytes=secret),
                number=number,
                environment=self._environment,
            )
            return Sealed(stored, context).open(self._receipt)

    def sealed(
        self, plaintext: bytes, *, data_key: PlainKey, version: UUID, secret: UUID, number: int
    ) -> bytes:
        """Return the envelope of a version's value under a data key."""
        binding = self._bindings.of(version.bytes, secret.bytes, number)
        return seal.seal_bound(plaintext, data_key=data_key, binding=binding)

    def _taken(self, data_key_id: bytes) -> PlainKey:
        key = plain_key(UUID(bytes=data_key_id), environment=self._environment)
        self._keys[data_key_id] = key
        return key


def named_data_keys(envelopes: Iterable[bytes]) -> set[UUID]:
    """Return the ids of the data keys that envelopes name; what is no envelope names none."""
    ids = {stored[DATA_KEY_ID] for stored in envelopes if len(stored) >= MIN_ENVELOPE_BYTES}
    return {UUID(bytes=data_key_id) for data_key_id in ids}
