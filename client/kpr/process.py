"""Running the command: in place of kpr where that is possible, else under its supervision."""

import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from kpr.errors import CommandError, Exit

# What a supervisor passes on; SIGKILL and SIGSTOP cannot be caught, SIGTSTP reaches the group anyway.
_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGALRM")
# si_code of a signal that the terminal sent to the whole group: the command has it already.
_FROM_KERNEL = 0x80


def no_core_dump() -> object:
    """Let kpr leave no core dump, and return what `execute` restores for the command."""
    import resource  # noqa: PLC0415 - POSIX alone

    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, limits[1]))
    return limits


def execute(command: Sequence[str], variables: Mapping[bytes, bytes], core_limits: object = None) -> NoReturn:
    """Replace kpr by the command: signals, terminal and exit status are its own from here on.

    Raises CommandError if it cannot be run.
    """
    _restore(core_limits)
    sys.stderr.flush()
    try:
        os.execvpe(command[0], list(command), dict(variables))  # noqa: S606 - that no shell is between is the point
    except OSError as error:
        raise _not_run(command[0], error) from None


def supervise(command: Sequence[str], variables: Mapping[bytes, bytes], core_limits: object = None) -> int:
    """Run the command, pass signals on, and return its exit status, or 128 and the number of its signal.

    Raises CommandError if it cannot be run.
    """
    import subprocess  # noqa: PLC0415 - only under supervision

    forwarded = {getattr(signal, name) for name in _FORWARDED}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*forwarded, signal.SIGCHLD})

    def prepare() -> None:
        _restore(core_limits)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        # There is one thread, so that the function runs safely between fork and exec.
        child = subprocess.Popen(list(command), env=variables, preexec_fn=prepare)  # noqa: PLW1509 - there is one thread
    except OSError as error:
        raise _not_run(command[0], error) from None
    while True:
        arrived = signal.sigwaitinfo({*forwarded, signal.SIGCHLD})
        if arrived.si_signo != signal.SIGCHLD:
            if arrived.si_code != _FROM_KERNEL:
                child.send_signal(arrived.si_signo)
        elif child.poll() is not None:
            return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _restore(core_limits: object) -> None:
    """Give the command what kpr found: Python ignores these signals, and exec would hand that on."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if core_limits is not None:
        import resource  # noqa: PLC0415 - POSIX alone

        resource.setrlimit(resource.RLIMIT_CORE, core_limits)  # type: ignore[arg-type]  # what getrlimit returned


def _not_run(name: str, error: OSError) -> CommandError:
    if error.errno == errno.ENOENT:
        return CommandError(f"{name} was not found, or its interpreter was not.", Exit.NO_COMMAND)
    if error.errno == errno.E2BIG:
        return CommandError(
            "The variables and arguments are larger than the kernel takes: use --only, --prefix or --file.",
            Exit.NOT_EXECUTABLE,
        )
    if error.errno == errno.ENOEXEC:
        return CommandError(f"{name} is no program: a script needs a line #! first.", Exit.NOT_EXECUTABLE)
    return CommandError(f"{name} cannot be run: {error.strerror}.", Exit.NOT_EXECUTABLE)
