"""The identity that every row of Keeper carries for everything cryptographic."""

import os
import uuid
from typing import Final

from django.db import models

_HEX_DIGITS: Final = 32
# What the bytes of version and variant become (RFC 9562, 5.4).
_VERSION: Final = bytes(byte & 0x0F | 0x40 for byte in range(256))
_VARIANT: Final = bytes(byte & 0x3F | 0x80 for byte in range(256))


class Identified(models.Model):
    """Gives a model an immutable UUID that is made by the client, besides its bigint id."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)

    class Meta:
        abstract = True


def random_uuids(count: int) -> list[str]:
    """Return so many random UUIDs (RFC 9562, version 4) in hexadecimal; `uuid4` takes ten times as long."""
    drawn = bytearray(os.urandom(16 * count))
    drawn[6::16] = drawn[6::16].translate(_VERSION)
    drawn[8::16] = drawn[8::16].translate(_VARIANT)
    digits = drawn.hex()
    return [digits[start : start + _HEX_DIGITS] for start in range(0, len(digits), _HEX_DIGITS)]


def dashed(digits: str) -> str:
    """Return what `str` makes of the UUID of these hexadecimal digits."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
