"""What every backend of the sync offers: one class per kind of system that holds secrets.

Names are Keeper's; a backend adds its prefix and never leaves it. Every method raises a
BackendError of sync_app.errors, whose `permanent` drives retry; none wraps a reply that could
carry a value.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import ClassVar, Final, Self
from uuid import UUID

from sync_app.backends.answers import plain, refuse_other_forms
from sync_app.backends.permissions import Permission
from sync_app.domain.reconciliation import Presence
from sync_app.errors import BadDestination

# Between what is known of a version before it is made, and the rest of its name.
VERSION_SEPARATOR: Final = "@"
MARK_KEYS: Final = ("keeper-deployment", "keeper-target", "keeper-secret")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Who a secret in the target belongs to, as it is written on the secret itself."""

    deployment: UUID
    target: UUID
    secret: UUID

    def labels(self) -> dict[str, str]:
        """Return the mark as tags or custom metadata."""
        return dict(zip(MARK_KEYS, map(str, (self.deployment, self.target, self.secret)), strict=True))


def mark_from(labels: Mapping[str, str]) -> Mark | None:
    """Return the mark among labels; None without one, or for one that Keeper did not write."""
    try:
        deployment, target, secret = (UUID(labels[key]) for key in MARK_KEYS)
    except (KeyError, ValueError):
        return None
    return Mark(deployment=deployment, target=target, secret=secret)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A secret of the target without its value.

    `remote_id` distinguishes it from another one of the same name (AWS: the ARN; Vault: path and time of
    creation), `version` from the same one with another value.
    """

    name: str
    presence: Presence
    remote_id: str = ""
    version: str = ""
    mark: Mark | None = None
    # The version before, as far as the system shows one.
    before: str = field(default="", compare=False)
    # Whether it is deleted because its time was up.
    expired: bool = field(default=False, compare=False)
    # How many versions the system keeps of this secret, if that was set for it.
    keeps: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        """Refuse, with ValueError, what another system gave for a name or an id and is none."""
        if "\0" in self.name or self.name != str(self.name):
            raise ValueError("no name")
        for text in (self.remote_id, self.version, self.before):
            plain(text)


def is_named(version: str, name: str) -> bool:
    """Return whether a version is the one of this name, in full or as `next_version` predicts it."""
    return bool(name) and (version == name or version.startswith(f"{name}{VERSION_SEPARATOR}"))


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A secret's value together with what was seen in the same read."""

    seen: Seen
    value: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What a look at many secrets together showed of one, and when."""

    seen: Seen
    at: float


@dataclass(frozen=True, kw_only=True)
class FormField:
    """One field of a target's form.

    `sensitive` ones are credentials, sealed and never shown again; `fixed` ones locate the secrets, and
    never change. `lines` ones hold several lines, such as a certificate.
    """

    name: str
    label: str
    required: bool = False
    sensitive: bool = False
    fixed: bool = False
    lines: bool = False
    default: str = ""
    help: str = ""
    choices: tuple[str, ...] = ()
    # What a text has to match, for those who read the API's description.
    pattern: str = ""


class Backend(ABC):
    """One destination in another system, for as long as one pass takes. Use it in a `with`.

    Instances are safe to share between threads.
    """

    label: ClassVar[str]
    destination_fields: ClassVar[tuple[FormField, ...]]
    credential_fields: ClassVar[tuple[FormField, ...]]
    # The pace that the system's quotas allow.
    writes_per_second: ClassVar[float]
    seconds_between_versions: ClassVar[float] = 0.0
    # Whether `update` itself refuses a secret that does not carry the mark in `seen`; else the
    # caller looks first.
    update_proves_mark: ClassVar[bool] = False
    # Whether the answer to an `update` of what is `known` is proof enough; else the caller looks after it.
    known_update_confirms: ClassVar[bool] = False
    # Whether an `update` may come over another secret than the one in `seen`, which `take_back` puts back.
    may_overwrite: ClassVar[bool] = False
    # Whether `delete` deletes no version but the one in `seen`, whatever is written just before it.
    deletes_one_version: ClassVar[bool] = False
    # Whether no other writer can create the version that `next_version` names; else its value decides.
    next_version_is_proof: ClassVar[bool] = False
    # Whether a list that was read to its end shows every existing secret.
    lists_everything: ClassVar[bool] = False
    # Whether `create` may leave it to the caller to see what it made.
    known_create_confirms: ClassVar[bool] = True
    # Whether a pending version can exist beside the current one, under its own stage.
    keeps_pending: ClassVar[bool] = False

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        self.destination = complete(self.destination_fields, destination)
        self._credentials = complete(self.credential_fields, credentials)

    def __init_subclass__(cls) -> None:
        """Have an answer of another form raise AnswerUnexpected, whichever method reads it."""
        super().__init_subclass__()
        refuse_other_forms(cls)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027  optional
        """Close connections, and give back what was borrowed."""

    @classmethod
    @abstractmethod
    def endpoint(cls, destination: Mapping[str, str]) -> str:
        """Return the normalised address to which a destination's credentials go, or several with spaces.

        Raises BadDestination.
        """

    @property
    @abstractmethod
    def place(self) -> str:
        """The path, in the system, below which the secrets lie."""

    @abstractmethod
    def system(self) -> str:
        """Ask which system this is, by a name that is the same however it is addressed."""

    @classmethod
    def current_system(cls, system: str, destination: Mapping[str, str]) -> str:  # noqa: ARG003 - for those that need it
        """Return how `system` names today what an earlier version of Keeper named so for a destination."""
        return system

    @abstractmethod
    def check(self) -> None:
        """Try, without changing anything, whether the destination can be reached and listed."""

    @abstractmethod
    def permissions(self) -> Iterable[Permission]:
        """Ask, without changing anything, which permissions the credentials have here."""

    @abstractmethod
    def list(self) -> Iterator[Seen]:
        """Yield every secret under the prefix, also those waiting out a recovery window.

        Raises instead of ending early: a list that ends has been read to its end.
        """

    @abstractmethod
    def look(self, name: str) -> Seen:
        """Return what is at a name, by a direct read of its metadata; absent is a presence."""

    def glance(self, names: Collection[str]) -> dict[str, Seen]:  # noqa: ARG002 - a system may have no such list
        """Return what few requests show of many names together.

        It may leave out any, and may lag behind: it proves what it shows to be as expected, and
        nothing else.
        """
        return {}

    @abstractmethod
    def read(self, name: str) -> Copy | None:
        """Return value and version from one read, or None if nothing is there.

        `seen.mark` and `seen.remote_id` are there only if the same read shows them. Raises
        ValueUnusable if it is not a single text.
        """

    @abstractmethod
    def create(self, name: str, value: str, *, mark: Mark, token: str, known: bool = False) -> Seen:
        """Create a secret with its mark, only if nothing is at the name.

        With `known` the caller confirms it (`known_create_confirms`): what it made is not looked at.
        `token` is the same when the same attempt is repeated, and makes the repetition harmless
        where the system supports that. Raises ChangedSinceRead if something is there, NameHeld
        if something deleted is, and CreateOvertaken if our mark is now on what somebody else wrote:
        whether that was another worker of ours, only the holder of the run's lease can decide.
        """

    @abstractmethod
    def update(
        self, seen: Seen, value: str, *, token: str, known: bool = False, repeated: bool = False
    ) -> Seen:
        """Write a new value over the version in `seen`, compare-and-set, and confirm it.

        What is seen as deleted is what `restore` could not bring back.
        With `known` the caller has just seen that version with its mark, knows that it is one text,
        has not tried this write before, and confirms it (`known_update_confirms`): nothing is read.
        `repeated` means that the same write was tried before with an unknown outcome.
        Raises ChangedSinceRead if another version is there: nothing was overwritten; and Overwritten if
        it came over what is not ours, which the system lets happen only where it cannot compare.
        """

    def undo(self, over: Seen, written: str) -> None:  # noqa: B027  what compares everything overwrites nothing
        """Put back what the version `written` came over, if that was not the secret in `over`.

        Raises Overwritten once it is, or cannot be; returns where the write came over the right one.
        """

    def take_back(  # noqa: B027  what compares everything overwrites nothing
        self, over: Seen, *, makes: str, wrote: Callable[[str], bool], kept: str | None = None
    ) -> None:
        """Put back what an earlier write over `over` came over, whose outcome is unknown.

        `makes` is what `next_version` returned for that write, and `wrote` returns whether a value is that
        write's; `kept` is what `over` held, if that is known. Raises Overwritten as `undo`
        does; returns where there is no such write, or it came over the right one.
        """

    def destroys(self, seen: Seen) -> bool:  # noqa: ARG002 - a system may keep the version before
        """Return whether an `update` would destroy the present version, or may."""
        return False

    @abstractmethod
    def next_version(self, version: str, *, token: str) -> str:
        """Return the version that a write with this token makes over another, or where nothing is ("").

        Or what is known of its name beforehand (see `is_named`).
        """

    @abstractmethod
    def delete(self, seen: Seen) -> None:
        """Delete recoverably, only the version in `seen`; what changed in the meantime is restored.

        Raises ChangedSinceRead if another version is there.
        """

    @abstractmethod
    def restore(self, name: str) -> Seen:
        """Bring back what was deleted and is still recoverable."""

    @abstractmethod
    def mark(self, seen: Seen, mark: Mark) -> None:
        """Put our mark on an existing secret (to adopt it); its other labels stay."""

    @abstractmethod
    def unmark(self, seen: Seen) -> None:
        """Take our mark off (to withdraw from it); its other labels stay."""

    def put_pending(self, seen: Seen, value: str, *, token: str) -> bool:
        """Put a version as pending beside the one in `seen`; False if another's is pending there.

        An `update` with the same token makes that very version current.
        """
        raise NotImplementedError

    def drop_pending(self, seen: Seen, *, token: str) -> None:
        """Let the version of this token be pending no more, whatever else it is by now."""
        raise NotImplementedError


def marked(seen: Seen, mark: Mark | None) -> Seen:
    """Return what was seen, with another mark."""
    return replace(seen, mark=mark)


def complete(
    fields: tuple[FormField, ...], given: Mapping[str, str], *, sent_as: str = "destination"
) -> dict[str, str]:
    """Return a text for every field: the one given, or the default.

    `sent_as` is what the fields as a whole are called where they come from, unless they are credentials.

    Raises BadDestination if a field is unknown, a required one is missing, or one is no choice of its.
    """
    names = [each.name for each in fields]
    if given.keys() - set(names):
        # It is not repeated: a credential may have been put in place of a name.
        where = "credentials" if any(each.sensitive for each in fields) else sent_as
        raise BadDestination(f"a field is unknown; there are {', '.join(names)}", field=where)
    values = {each.name: given.get(each.name) or each.default for each in fields}
    for each in fields:
        if each.required and not values[each.name]:
            raise BadDestination(f"{each.label} is missing", field=each.name)
        if each.choices and values[each.name] not in each.choices:
            raise BadDestination(f"choose one of {', '.join(each.choices)}", field=each.name)
    return values
