"""What every test of a refusal checks: the error is ours, quick, and carries nothing of the value."""

import time
import traceback

import pytest

from secrets_app.errors import InvalidValue
from secrets_app.types.registry import SecretType, inspect

# Of this thread's own work: how long the machine lets it wait says nothing of a refusal.
SECONDS = 2.0
MARK = "hunter2"


def refuse(secret_type: SecretType, value: object, hint: str) -> InvalidValue:
    """Check that `value` is refused for a reason that contains `hint`, and that nothing else is told."""
    started = time.thread_time()
    with pytest.raises(InvalidValue) as caught:
        inspect(secret_type, value)
    assert time.thread_time() - started < SECONDS
    error = caught.value
    assert error.field == "value"
    assert hint in error.reason
    # A parser's exception holds the document; were it chained, an error report would show it.
    assert error.__cause__ is None
    assert error.__context__ is None
    assert MARK not in "".join(traceback.format_exception_only(error))
    return error
