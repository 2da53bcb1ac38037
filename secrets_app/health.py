"""Whether values can be opened and what happens recorded."""

from audit_app.interfaces.keyring import keyring


def keys() -> None:
    """Check that the system keys are open; opens them in a process that has not yet.

    Raises KeyringUnavailable, whose message says what to do, if they cannot be opened. Once
    open they stay so: a process is still ready while KMS is away.
    """
    keyring().open_all()
