"""The secrets that every competitor holds: the same names, the same values of 40 characters."""

import hashlib


def secret_name(number: int, prefix: str = "service") -> str:
    """Return the name of a secret, such as service-07/3c6e0b8a9c15: its place among others is random."""
    digest = hashlib.sha256(f"{prefix} {number}".encode()).hexdigest()
    return f"{prefix}-{number % 20:02}/{digest[:12]}"


def secret_value(number: int) -> str:
    """Return the value of a secret; nobody's, and the same in each run."""
    return hashlib.sha1(str(number).encode(), usedforsecurity=False).hexdigest()
