"""Whether values can be opened and what happens recorded."""

from audit_app.interfaces.keyring import keyring


def keys() -> None:
    """Check that the system keys are open; opens them in a process that has not yet.

    Raises KeyringUnavailable, with the remedy, if they cannot be opened. Once open they stay open: a
    process is still ready while KMS is unavailable.
    """
    keyring().open_all()
