"""The conditions audit_app raises."""

from core.errors import KeeperError, Kind


class AuditError(KeeperError):
    """Base of everything audit_app raises."""


class StreamForked(AuditError):
    """A stream's head moved under its lock: nothing may be appended to it."""


class Immutable(AuditError):
    """An attempt to change or delete an append-only row."""


class Unrecorded(AuditError):
    """An attempt to delete a row whose state the audit log records, without an event of its end."""


class LeaseUnwritable(AuditError):
    """The lease, which names the active installation, cannot be written."""


class KeyringUnavailable(AuditError):
    """The system keys could not be opened; nothing can be recorded or authenticated."""

    problem = Kind(
        503,
        "The system keys are not available",
        "Keeper can't write to the audit log, so it isn't accepting requests. Try again later.",
        retry_after=5,
    )


class NotSealedHere(AuditError):
    """An envelope under a system key was edited, or belongs to another row."""


class UnauthenticatableValue(AuditError):
    """A covered column holds what no row MAC can cover, such as a database expression."""


class BadCheckpoint(AuditError):
    """What was read is no checkpoint in its canonical form."""


class SigningRefused(AuditError):
    """The audit log does not descend from its anchor, or is damaged: no checkpoint of it is signed."""


class NothingToResume(AuditError):
    """The audit log descends from its anchor: no operator has to let it continue."""


class AnchorUnavailable(AuditError):
    """No readable sink answers: the checkpoint that the audit log must descend from is unknown."""


class NothingToPrune(AuditError):
    """No event is old enough, and covered by a checkpoint, that retention could take out."""


class PruneRefused(AuditError):
    """Retention refuses to remove events now; the message states what must be corrected."""


class BadBundle(AuditError):
    """A bundle of the audit log is not what it has to be: nothing may rely on it."""


class BadSink(AuditError):
    """An entry of the settings is no valid sink; the message states the fault."""


class SinkDown(AuditError):
    """A sink did not take what it was given, or cannot be read; it is tried again."""


class LineRefused(AuditError):
    """A sink refuses lines for what they are: the same are refused again. The message says why."""


class TooManyRefusals(AuditError):
    """An address, or a source of tries for an account, was refused too often."""

    problem = Kind(429, "Too many refused requests", "Wait before you try again.")

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many refused attempts; retry after {retry_after} s")
        self.retry_after = retry_after

    def wait_seconds(self) -> int:
        return self.retry_after
