"""Compares values without storing them, by keyed fingerprints.

A fingerprint is an oracle for guesses, so none is ever shown.
"""

import hmac

from audit_app.interfaces import Purpose, keyring


def fingerprint(value: bytes) -> bytes:
    """Return the fingerprint of a value, 48 bytes: key id 16 | HMAC-SHA256 32.

    Raises KeyringUnavailable if the system keys cannot be opened.
    """
    return keyring().mac(Purpose.FINGERPRINT, value)


def matches(value: bytes, stored: bytes) -> bool:
    """Return whether a stored fingerprint, also one of an older key, is that of this value."""
    return keyring().verify(Purpose.FINGERPRINT, value, bytes(stored))


def are_comparable(one: bytes | memoryview, other: bytes | memoryview) -> bool:
    """Return whether two fingerprints are of one key; the key may have been replaced between them."""
    return bytes(one[:16]) == bytes(other[:16])


def same_value(one: bytes | memoryview, other: bytes | memoryview) -> bool:
    """Return whether two fingerprints of one key are of the same value."""
    return hmac.compare_digest(bytes(one), bytes(other))
