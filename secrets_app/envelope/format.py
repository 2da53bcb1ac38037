"""The bytes of an envelope: the layout, and the checks before any key is used.

    header   = "KPR" | version 1 | suite 1 | data_key_id 16 | salt 32 | commitment 32 | nonce 12
    envelope = header | ciphertext | tag 16

The header has 97 bytes and an envelope at least 114: an empty plaintext is never sealed.
The layout follows suite 0x0478 of the AWS Encryption SDK message format.
"""

from typing import Final
from uuid import UUID

from secrets_app.errors import Malformed, UnknownFormat

MAGIC: Final = b"KPR"
VERSION: Final = 1
SUITE: Final = 1  # HKDF-Expand-SHA512, key commitment, AES-256-GCM
PREFIX: Final = MAGIC + bytes((VERSION, SUITE))

DATA_KEY_BYTES: Final = 32
SALT_BYTES: Final = 32
COMMITMENT_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
HEADER_BYTES: Final = 97
MAX_PLAINTEXT_BYTES: Final = 65_536
# All names and values of an environment; below what the database takes in one statement (16 MiB, MariaDB).
MAX_SNAPSHOT_BYTES: Final = 4 * 1024 * 1024
MIN_ENVELOPE_BYTES: Final = HEADER_BYTES + 1 + TAG_BYTES
OVERHEAD_BYTES: Final = HEADER_BYTES + TAG_BYTES
MAX_ENVELOPE_BYTES: Final = OVERHEAD_BYTES + MAX_PLAINTEXT_BYTES


# The offset of each field; the derived key depends on the two fields from the data key's id on.
DATA_KEY_ID: Final = slice(5, 21)
ID_AND_SALT: Final = slice(5, 53)
COMMITMENT: Final = slice(53, 85)
NONCE: Final = slice(85, HEADER_BYTES)


def check(envelope: bytes, *, limit: int = MAX_PLAINTEXT_BYTES) -> None:
    """Let pass what has the form of an envelope of at most `limit` bytes of plaintext.

    Raises Malformed if the bytes are none by their length or first bytes, and UnknownFormat if their
    version or suite is not ours.
    """
    fits = MIN_ENVELOPE_BYTES <= len(envelope) <= OVERHEAD_BYTES + limit
    if fits and envelope.startswith(PREFIX):
        return
    if envelope[:3] != MAGIC:
        raise Malformed("the column does not hold an envelope")
    if not fits:
        raise Malformed("the envelope is too short or too long to be whole")
    raise UnknownFormat(f"envelope version {envelope[3]}, suite {envelope[4]} is not known here")


def data_key_id(envelope: bytes) -> UUID:
    """Return the id of the data key that an envelope names; raises as `check` does."""
    check(envelope)
    return UUID(bytes=envelope[DATA_KEY_ID])
