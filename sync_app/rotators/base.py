"""What every rotator offers: one class per kind of system whose credentials Keeper changes.

Instances hold no state between calls: everything is passed in, so that any worker can continue where
another one stopped. Every call is idempotent and bounded in time, and raises a BackendError of
sync_app.errors, whose `permanent` drives retry. None guesses an outcome: after TargetUnreachable a
probe decides. No error, log line or statement holds a secret.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, NamedTuple
from uuid import UUID

from sync_app.backends.capabilities import FormField, fill_defaults
from sync_app.errors import LeaseLost


class LoginAnswer(StrEnum):
    """A server's answer to a login."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    # No answer, or one that proves nothing about the secret. Never treated as one of the others.
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class LoginProbe:
    """The answer to a login, and why, for the operator."""

    answer: LoginAnswer
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Fence:
    """Whose turn it is, and how long a change may take.

    `is_held` asks Keeper's database whether the run still has this lease epoch and at least
    `seconds` of its lease left. A rotator asks while it holds the target's lock and its session
    has begun to time out, so that a worker that is paused after the answer finds its session
    closed before another worker can claim the lease.
    """

    run: UUID
    epoch: int
    seconds: int
    is_held: Callable[[], bool]

    def require_held(self) -> None:
        """Raise LeaseLost unless the run is still this worker's."""
        if not self.is_held():
            raise LeaseLost(f"run {self.run} is no longer at epoch {self.epoch}: another worker has it")


@dataclass(frozen=True, kw_only=True)
class PendingCredential:
    """What a run writes down before its first act on the other system.

    `value` is the whole next value of the secret, sealed where it is stored; it is None where only
    the other system can make it, and then comes from `set`. `before` are the ids of the keys that
    were there, so a new one is distinguished from an old one after a crash.
    """

    login: str
    value: str | None = field(repr=False, default=None)
    before: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LoginDifference:
    """One thing in which the idle login differs, for a client, from the login that is served.

    `sql` makes them alike, in `database` if that matters; it holds no password. Where it is empty, `todo`
    describes what a person does. `refused` is why Keeper's administrator may not run the SQL, once tried.
    """

    what: str
    sql: str = ""
    database: str = ""
    todo: str = ""
    refused: str = ""

    @property
    def remedy(self) -> str:
        """What to do, in a sentence."""
        if not self.sql:
            return self.todo
        return f"run in database {self.database}: {self.sql}" if self.database else f"run: {self.sql}"

    @property
    def is_for_keeper(self) -> bool:
        """Whether Keeper's administrator may run the SQL, as far as is known."""
        return bool(self.sql) and not self.refused

    def __str__(self) -> str:
        return f"{self.what} ({self.remedy})" if self.remedy else self.what


class Login(NamedTuple):
    """A login that rotations change, and from where it holds; "" for everywhere."""

    name: str
    place: str = ""

    def conflicts_with(self, other: "Login") -> bool:
        """Return whether changing one of the two changes the other."""
        return self.name == other.name and (self.place == other.place or not (self.place and other.place))


class Rotator(ABC):
    """The credentials of one policy: its settings, and the administrator who may change them.

    Values are texts in the convention of AWS Secrets Manager: JSON with `engine`, `host`, `port`,
    `username`, `password`, `dbname` for databases. Fields that a rotator does not change stay.
    """

    label: ClassVar[str]
    # Of the sprite: our own mark of the kind of system.
    icon: ClassVar[str] = "rotate"
    settings_fields: ClassVar[tuple[FormField, ...]]
    admin_fields: ClassVar[tuple[FormField, ...]]
    # Whether a probe can verify a value. Without it current and previous are both offered.
    supports_probe: ClassVar[bool] = True
    # For how long after a change a refusal may mean that it has not reached every server yet.
    propagation_seconds: ClassVar[int] = 0
    # How long to wait after `set` before the new value is tried and served.
    settle_seconds: int = 0
    # What `compare_logins` may leave out, as the end of a sentence.
    not_compared: ClassVar[str] = ""
    # Whether giving the idle login its next secret ends whatever logged in there before.
    overwrites_idle: ClassVar[bool] = True

    def __init__(self, *, settings: Mapping[str, str], admin: Mapping[str, str]) -> None:
        self.settings = fill_defaults(self.settings_fields, settings, sent_as="settings")
        self._admin = fill_defaults(self.admin_fields, admin, sent_as="credentials")

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """The one place where the administrator's credential may be sent; it is sealed for that."""

    @classmethod
    @abstractmethod
    def logins_of(cls, settings: Mapping[str, str]) -> frozenset[Login]:
        """Return the logins at its endpoint that only a policy of these settings may change."""

    @abstractmethod
    def check_setup(self, current: str) -> None:
        """Try, without changing anything, whether a rotation could work: the dry run.

        The server answers, the administrator may do what is needed, both logins exist, and
        `current` is a value of this policy. Raises PermissionMissing, naming the missing grant.
        """

    @abstractmethod
    def idle_login(self, current: str) -> str:
        """Return the login that does not serve `current`: the next one to get a new secret.

        Raises ValueUnusable if `current` is not a value of this policy.
        """

    @abstractmethod
    def prepare(self, current: str) -> PendingCredential:
        """Return what has to be written down before `set`; changes nothing."""

    @abstractmethod
    def set(self, pending: PendingCredential, *, current: str, fence: Fence) -> str:
        """Give the idle login its new secret, and return the value that now logs in.

        Repeated with the same `pending` it comes to the same end. Raises LeaseLost if another
        worker has the run, CredentialInUse if `pending` would change what serves `current`.
        """

    def discard(self, value: str) -> None:
        """Invalidate a secret that `set` created and that could not be stored: only this worker knows it.

        It asks for no turn, since no other worker learns of that very secret. Where a run writes a secret
        down before it is set there is nothing to be done.
        """
        return

    @abstractmethod
    def probe(self, value: str) -> LoginProbe:
        """Log in with a value. Raises only what a value that is not one of this policy raises."""

    def probe_replicas(self, value: str) -> Iterator[tuple[str, LoginProbe]]:
        """Log in with a value at one replica of the policy after the other; yield address and answer."""
        yield from ()

    def compare_logins(self, current: str) -> tuple[LoginDifference, ...]:
        """Return in what the idle login differs from the one that serves `current`; changes nothing."""
        return ()

    def align_logins(
        self,
        differences: Sequence[LoginDifference],
        *,
        current: str,
        allowed: Callable[[], None] | None = None,
    ) -> tuple[LoginDifference, ...]:
        """Run the SQL of differences as the administrator; return them with why each was refused.

        `allowed` is called under the lock of both logins on the server, and raises if it may not be done.
        Without it nothing is changed: it is found out what the administrator may do.
        """
        return tuple(differences)

    @abstractmethod
    def retire(self, value: str, *, current: str, fence: Fence) -> None:
        """Make an old value useless, and prove it.

        Raises CredentialInUse if it serves `current`, StillAccepted while it still logs in.
        """

    @abstractmethod
    def revoke_unserved(self, pending: PendingCredential, *, current: str, fence: Fence) -> None:
        """Undo `set`, whether or not it took place, so that nothing unknown logs in."""
