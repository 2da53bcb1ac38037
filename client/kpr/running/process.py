"""Running the command: in place of kpr where that is possible, else under its supervision."""

import errno
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from kpr.errors import CommandError, Exit

if TYPE_CHECKING:
    from kpr.running.streams import MaskedOutput

# What a supervisor passes on; SIGKILL and SIGSTOP cannot be caught, SIGTSTP reaches the group anyway.
_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGALRM")
# si_code of a signal that the terminal sent to the whole group: the command has it already.
_FROM_KERNEL = 0x80


def no_core_dump() -> object:
    """Let kpr leave no core dump, and return what `execute` restores for the command; None on Windows."""
    try:
        import resource  # noqa: PLC0415 - POSIX alone
    except ImportError:
        return None

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


def supervise(
    command: Sequence[str],
    variables: Mapping[bytes, bytes],
    core_limits: object = None,
    output: "MaskedOutput | None" = None,
) -> int:
    """Run the command, pass signals on, and return its exit status, or 128 and the number of its signal.

    Raises CommandError if it cannot be run.
    """
    with Supervisor(core_limits) as supervisor:
        supervisor.start(command, variables, output)
        while (code := supervisor.wait()) is None:
            pass
        return code


class Supervisor:
    """Starts commands, one after another, and passes on to each the signals that kpr gets."""

    def __init__(self, core_limits: object = None) -> None:
        self._core_limits = core_limits
        self._forwarded = {getattr(signal, name) for name in _FORWARDED}
        self._before: set[int] = set()
        self._child: Any = None
        self._output: MaskedOutput | None = None

    def __enter__(self) -> "Supervisor":  # noqa: PYI034 - Python 3.10 has no Self
        self._before = {
            int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, {*self._forwarded, signal.SIGCHLD})
        }
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def start(
        self,
        command: Sequence[str],
        variables: Mapping[bytes, bytes],
        output: "MaskedOutput | None" = None,
    ) -> None:
        """Start a command, its output masked if that is given. Raises CommandError if it cannot be run."""
        import subprocess  # noqa: PLC0415 - only under supervision

        def prepare() -> None:
            _restore(self._core_limits)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

        stdout, stderr = output.for_command if output else (None, None)
        try:
            # There is one thread, so that the function runs safely between fork and exec. What is
            # inheritable, such as files in memory, is for the command.
            self._child = subprocess.Popen(
                list(command),
                env=variables,
                stdout=stdout,
                stderr=stderr,
                preexec_fn=prepare,  # noqa: PLW1509 - there is one thread
                close_fds=False,
            )
        except OSError as error:
            raise _not_run(command[0], error) from None
        self._output = output
        if output is not None:
            output.start()

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for the end of the command, or so long, and return its code; None if it still runs."""
        awaited = {*self._forwarded, signal.SIGCHLD}
        ends = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if ends is None else max(ends - time.monotonic(), 0)
            arrived = signal.sigwaitinfo(awaited) if left is None else signal.sigtimedwait(awaited, left)
            if arrived is None:
                return None
            if arrived.si_signo != signal.SIGCHLD:
                self._forward(arrived)
            elif self._child.poll() is not None:
                code = int(self._child.returncode)
                return code if code >= 0 else 128 - code
            else:
                _reap_orphans(self._child.pid)

    def _forward(self, arrived: Any) -> None:
        """Pass a signal on, unless the command has it already from the terminal."""
        resizes = self._output is not None and arrived.si_signo == signal.SIGWINCH
        if self._output is not None and resizes:
            self._output.resize()
        # After the new size is known it is sent again.
        if resizes or arrived.si_code != _FROM_KERNEL:
            self._child.send_signal(arrived.si_signo)

    def stop(self, patience: float) -> None:
        """End the command: by SIGTERM, and by SIGKILL if it runs on."""
        self._child.send_signal(signal.SIGTERM)
        if self.wait(patience) is None:
            self._child.kill()
            self._child.wait()


def _reap_orphans(command: int) -> None:
    """Reap other processes that have ended, as process 1 of a container, which inherits them."""
    if os.getpid() != 1:
        return
    while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
        if ended.si_pid == command:
            return
        os.waitpid(ended.si_pid, 0)


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
