"""What a database said of an error, in words that may be shown to an operator of this machine."""

from django.db import Error, connection


def reason_of(error: Error) -> str:
    """Return the driver's number and message, or the kind of error if they repeat the password."""
    reason = ": ".join(str(part) for part in error.args)
    password = connection.settings_dict["PASSWORD"]
    return reason if reason and not (password and password in reason) else type(error).__name__
