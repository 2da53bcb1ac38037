"""Which errors of a target end the work on it, and which concern one item alone."""

import inspect

import pytest

from sync_app import errors
from sync_app.errors import BackendError
from sync_app.jobs.worker_pool import run_each

# The target answers so whatever it is asked next.
OF_THE_TARGET = {
    errors.CredentialsRejected,
    errors.MountMissing,
    errors.SystemMismatch,
    errors.TargetSealed,
    errors.TargetStandby,
    errors.BadDestination,
}
ERRORS = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, BackendError) and not each.__subclasses__()
]


def made(kind: type[BackendError]) -> BackendError:
    error = kind.__new__(kind)
    Exception.__init__(error, "of the target")
    return error


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_what_is_true_of_the_whole_target_ends_the_work_on_it(kind: type[BackendError]) -> None:
    error = made(kind)

    def work(item: int) -> int:
        if item == 0:
            raise error
        return item

    ends = kind in OF_THE_TARGET
    try:
        found = dict(run_each(work, [0, 1]))
    except kind:
        assert ends
    else:
        assert (ends, found) == (False, {0: error, 1: 1})
