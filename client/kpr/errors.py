"""What can go wrong, each with its exit code and with what to do. No error carries a value or a token."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of kpr (docs/kpr.md)."""

    DONE = 0
    DIFFERENT = 1
    USAGE = 2
    SIGN_IN = 3
    FORBIDDEN = 4
    NOT_FOUND = 5
    REFUSED = 6
    UNREACHABLE = 7
    NAMES = 8
    PENDING = 9
    FOUND = 10
    OUTPUT = 11
    # Of `run`: kpr itself failed, the command cannot be run, the command was not found (as of a shell).
    OWN_FAILURE = 125
    NOT_EXECUTABLE = 126
    NO_COMMAND = 127
    INTERRUPTED = 130


EXIT_MEANINGS = {
    Exit.DONE: "done",
    Exit.DIFFERENT: "kpr diff: the environments differ",
    Exit.USAGE: "wrong options or settings",
    Exit.SIGN_IN: "not signed in, or the token ended",
    Exit.FORBIDDEN: "the role does not permit it",
    Exit.NOT_FOUND: "not found, or not visible",
    Exit.REFUSED: "the server refused what was sent",
    Exit.UNREACHABLE: "the server cannot be reached or is busy",
    Exit.NAMES: "names collide or are missing, or a value does not fit",
    Exit.PENDING: "approval is required first; the request was created",
    Exit.FOUND: "kpr scan found what looks like secrets",
    Exit.OUTPUT: "the output, or a file, cannot be read or written",
    Exit.OWN_FAILURE: "kpr run itself failed and the command was not started, or kpr has a defect",
    Exit.NOT_EXECUTABLE: "the command cannot be run",
    Exit.NO_COMMAND: "the command was not found",
    Exit.INTERRUPTED: "interrupted",
}


class KprError(Exception):
    """The base of all errors: one line with what happened and what to do."""

    code = Exit.USAGE


class UsageError(KprError):
    """The command, its options or a file of settings cannot be used as they are."""


class SignInError(KprError):
    """There is no token, or the server does not accept it."""

    code = Exit.SIGN_IN


class ForbiddenError(KprError):
    """The token's role does not permit this."""

    code = Exit.FORBIDDEN


class NotFoundError(KprError):
    """It does not exist, or the token cannot see it."""

    code = Exit.NOT_FOUND


class RefusedError(KprError):
    """The server refused what was sent."""

    code = Exit.REFUSED


class UnreachableError(KprError):
    """The server cannot be reached, is overloaded, or did not answer as Keeper does."""

    code = Exit.UNREACHABLE


class NoAnswerError(UnreachableError):
    """No server answered: an offline copy may be used."""


class NamesError(KprError):
    """Names collide or are missing, or a value cannot be a variable."""

    code = Exit.NAMES


class PendingError(KprError):
    """The change waits for approval; nothing was stored."""

    code = Exit.PENDING


class FoundError(KprError):
    """A scan found what looks like secrets."""

    code = Exit.FOUND


class OutputError(KprError):
    """The output or a file of kpr cannot be read or written."""

    code = Exit.OUTPUT


class DefectError(KprError):
    """Kpr has a defect; the line names its place."""

    code = Exit.OWN_FAILURE


class CommandError(KprError):
    """The command of `run` cannot be run."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code
