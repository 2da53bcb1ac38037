"""The secrets that every competitor holds: the same names, the same values of 40 characters."""

import hashlib


def secret_name(number: int, prefix: str = "service") -> str:
    """Return the name of a secret, such as service-07/password-0042."""
    return f"{prefix}-{number % 20:02}/password-{number:04}"


def secret_value(number: int) -> str:
    """Return the value of a secret; nobody's, and the same in each run."""
    return hashlib.sha1(str(number).encode(), usedforsecurity=False).hexdigest()
