"""The errors of sync_app: what an operator can do about them, and never a value in a message."""

from typing import Any, ClassVar, Final

from core.errors import KeeperError, Kind


class SyncError(KeeperError):
    """The base of everything that sync_app raises on purpose."""


class TargetConflict(SyncError):
    """The present state does not allow the change; the message states why and the remedy."""

    problem = Kind(409, "Conflict")


class NotTheActiveInstallation(TargetConflict):
    """Another installation of this deployment acts, or none after a restore; this one does not."""


class DestinationTaken(TargetConflict):
    """Another target covers the destination, or a part of it."""


class DifferentSystem(TargetConflict):
    """The new address or credentials lead to another system than the target's."""


class TargetInUse(TargetConflict):
    """The target still has secrets of Keeper's, or a run under way."""


class BackendError(SyncError):
    """Another system failed or refused a request; the message has the operator's remedy.

    `permanent` means that a retry fails until something is changed.
    """

    problem = Kind(502, "The other system reported an error")

    permanent: ClassVar[bool] = True
    # Whether the refusal proves that nothing was created.
    made_nothing: bool = False


# --- Trying again may help --------------------------------------------------------------------


class TransientError(BackendError):
    """The same request may succeed later.

    `made` is what is known of the version that a write made if it took place although this was answered.
    """

    permanent = False
    made: str = ""


class TargetUnreachable(TransientError):
    """No answer, or not a whole one; whether a write took place is not known."""


class AnswerUnexpected(TransientError):
    """The other system answered something that is no answer of such a system: a proxy, or another service."""


class TargetBusy(TransientError):
    """The target asks to slow down, or fails on its own side; `retry_after` is the time that it asked for."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TargetSealed(TransientError):
    """Vault is sealed: an operator must unseal it; then the work continues automatically."""


class TargetStandby(TransientError):
    """The node answers for no cluster: a standby, or one that was not initialised."""


class ChangedSinceRead(TransientError):
    """The target's secret is not the one that was read; nothing was overwritten. Plan again."""


class OutcomeUnknown(TransientError):
    """A write was answered, or may have happened, and no look shows yet what became of it.

    `made` is what is known of the version that it made, at most 64 characters: the intent keeps it, and
    `Backend.is_write_of` recognises it. `retry_after` is the time that the system asked for.
    """

    def __init__(self, message: str, *, made: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.made, self.retry_after = made, retry_after


class UpdateConflict(ChangedSinceRead):
    """A version was made, and is not current: another client's came first."""


class CreateConflict(ChangedSinceRead):
    """Another writer, maybe another worker, wrote the name after our mark was set: the mark stays for now."""


# --- An operator must change something --------------------------------------------------------


class BadDestination(BackendError):
    """A destination or credential is incomplete or malformed; `field` names the form's field."""

    problem = Kind(400, "Invalid request")

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field

    def faults(self) -> list[dict[str, Any]]:
        return [{"field": self.field, "reason": str(self)}]


class SystemMismatch(BackendError):
    """The address leads to another system than the one that the target was made for; nothing was written."""


class CredentialsRejected(BackendError):
    """The target does not know the credentials, or they have expired."""


class PermissionMissing(BackendError):
    """The credentials are known and may not do this; the message names the permission."""


class MountMissing(BackendError):
    """Vault has no KV version 2 secrets engine at this mount."""


class NameUnusable(BackendError):
    """The name is outside the prefix, or the target does not take it."""


OVERWROTE: Final = "overwrote a secret that was not ours"


class Overwritten(BackendError):
    """A write replaced a secret that was not owned; the message states whether it was restored.

    It begins with OVERWROTE: the secret stays failed with this message until it is adopted or gone.
    """


class NameReserved(BackendError):
    """A secret that is planned for deletion holds the name."""


class ValueUnusable(BackendError):
    """What is in the target is no value that Keeper can hold, or the target cannot hold Keeper's value."""


class QuotaExceeded(BackendError):
    """The target holds as much as it may: secrets, versions of one secret, or bytes."""


class KeyUnusable(BackendError):
    """The key that encrypts in the target is missing, disabled or not allowed."""


class RequestRefused(BackendError):
    """The target refuses the request for a reason that has no error of its own."""


# --- Plans and runs ---------------------------------------------------------------------------


class TooManyTests(SyncError):
    """As many tests of other systems are under way as a process waits for at once."""

    problem = Kind(429, "Too many tests at once", retry_after=5)


class SyncPaused(TargetConflict):
    """The target, or all of the sync, is paused."""


class RunInProgress(TargetConflict):
    """The target is being worked on; one run at a time."""


class PlanNotReady(TargetConflict):
    """The plan cannot be carried out: not made yet, done, superseded, or made under other rules."""


class NotResolvable(TargetConflict):
    """There is nothing to choose for this item of a plan, or not like that."""


class MembersUnknown(TargetConflict):
    """Keeper cannot determine the changed members of a value; the message states why."""


class MigrationNotReady(TargetConflict):
    """The migration's state does not allow this; the message states why and the remedy."""


class LeaseLost(SyncError):
    """Another worker has taken the run over: this one writes nothing any more."""


class RunOverdue(SyncError):
    """The run took longer than a run may take altogether."""


class NothingDelivered(SyncError):
    """A run is over, and delivered nothing of what it should have; the message names the first reason."""


class RetryLater(SyncError):
    """Some items wait for another attempt: the run is continued after `retry_after` seconds or more."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


# --- Rotation ---------------------------------------------------------------------------------


class RotationConflict(SyncError):
    """The present state does not allow the act; the message states why and the remedy."""

    problem = Kind(409, "Conflict")


class RotationInProgress(RotationConflict):
    """A rotation of the secret is at work, and has to end first."""


class StillAccepted(TransientError):
    """What was retired still logs in: the change may take a while to spread. Try again."""


class ClientMissing(BackendError):
    """The client of this kind of server is not installed: install Keeper's production requirements."""


class ServerUntrusted(BackendError):
    """The server did not prove who it is, or asks for more than a client should give away."""


class LoginMissing(BackendError):
    """The server does not know a login of the policy; the message names it."""


class UnsupportedAuthPlugin(BackendError):
    """A login exists, but does not authenticate by a password that Keeper can set."""


class CredentialInUse(BackendError):
    """What would be changed or retired is the credential that is served as current: nothing was done."""


class OutcomeAmbiguous(BackendError):
    """The present state is ambiguous: an operator must examine it; nothing was done."""


class LoginRefused(BackendError):
    """The server refuses a value that must log in: it was changed elsewhere, or the login does not exist."""


class LoginsDiffer(BackendError):
    """The idle login is not, for a client, what the served one is; the message names the differences."""


class CurrentVersionChanged(BackendError):
    """The secret's current value is not the one that the rotation began with: nothing was changed."""


class NotYetAccepted(TransientError):
    """A new value is not accepted yet; where changes spread slowly, it soon will be."""


class ShutdownRequested(SyncError):
    """The worker was asked to stop; what it leaves is continued by the next one."""
