"""The interface of a sync backend: one class per kind of system that holds secrets.

Names are Keeper's; a backend adds its prefix and never leaves it. Every method raises a
BackendError of sync_app.errors, whose `permanent` drives retry; none wraps a reply that could
carry a value.
"""

import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import TracebackType
from typing import ClassVar, Final, Self

from sync_app.backends.answers import VendorAnswer, reject_malformed_answers
from sync_app.backends.capabilities import Capabilities, FormField, Permission, fill_defaults
from sync_app.backends.observations import Mark, SecretMetadata, SecretValue, version_matches
from sync_app.domain.reconciliation import Presence, Reason

# As large as a value of Keeper's may be.
LARGEST_VALUE: Final = 65_536


class Backend(ABC):
    """One destination in another system, for as long as one pass takes. Use it in a `with`.

    Instances are safe to share between threads.
    """

    label: ClassVar[str]
    # Of the sprite: our own mark of the kind of system.
    icon: ClassVar[str] = "sync"
    destination_fields: ClassVar[tuple[FormField, ...]]
    credential_fields: ClassVar[tuple[FormField, ...]]
    # What names a target's place in a few words: the system, and the fields that follow, joined by /.
    summary_label: ClassVar[str]
    summary_fields: ClassVar[tuple[str, ...]]
    # The pace that the system's quotas allow.
    writes_per_second: ClassVar[float]
    seconds_between_versions: ClassVar[float] = 0.0
    capabilities: ClassVar[Capabilities] = Capabilities()
    # What a plan states about every secret of such a system, where it can prove less than others.
    plan_notice: ClassVar[str] = ""
    # Of what the form of a new target warns.
    form_notice: ClassVar[str] = ""
    # What each answer of the system proves about a write, from its documentation; a test plays each of them.
    answers: ClassVar[tuple[VendorAnswer, ...]] = ()
    # For so many seconds after a write was confirmed the system may serve readers the value before.
    readers_lag_seconds: ClassVar[float] = 0.0

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        self.destination = fill_defaults(self.destination_fields, destination)
        self._credentials = fill_defaults(self.credential_fields, credentials)

    def __init_subclass__(cls) -> None:
        """Have an answer of another form raise AnswerUnexpected, whichever method reads it."""
        super().__init_subclass__()
        reject_malformed_answers(cls)

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

    @classmethod
    def summarize(cls, destination: Mapping[str, str]) -> str:
        """Return where a target is, in a few words: `Vault secret/team`."""
        return f"{cls.summary_label} " + "/".join(filter(None, map(destination.get, cls.summary_fields)))

    @property
    @abstractmethod
    def path_prefix(self) -> str:
        """The path prefix of the secrets in the system."""

    @abstractmethod
    def identify_system(self) -> str:
        """Return the identity of the system, which does not depend on its address."""

    @classmethod
    def normalize_system_id(cls, system: str, destination: Mapping[str, str]) -> str:  # noqa: ARG003 - for those that need it
        """Return the present form of an identity that an older Keeper stored for a destination."""
        return system

    @property
    def max_value_bytes(self) -> int:
        """How many bytes of UTF-8 a value may have there."""
        return LARGEST_VALUE

    @classmethod
    def value_form(cls, destination: Mapping[str, str]) -> str:  # noqa: ARG003 - for those that have several
        """Return how the target's rule writes a JSON object, up to 8 characters; empty for as one text.

        If it is another form than that of the last write, the plan writes the object again.
        """
        return ""

    @property
    def free_names(self) -> int | None:
        """How many more secrets the system takes, by the last list; None without a limit."""
        return None

    @property
    def busy_seconds(self) -> float:
        """For how many seconds the system asked for no request."""
        return 0.0

    @property
    def maps_names(self) -> bool:
        """Whether a secret may have another name there."""
        return type(self).remote_name is not Backend.remote_name

    def remote_name(self, name: str) -> str:
        """Return the name in the system that a name of Keeper's becomes.

        The plan refuses names that become one name there.
        """
        return name

    def explain_refusal(self, act: str, name: str) -> str:
        """Return why this target takes no `create`, `update`, `adopt` or `delete` of a name; else empty.

        The plan shows it. Raises nothing, and asks the system nothing.
        """
        return ""

    def explain_type_refusal(self, secret_type: str, *, has_references: bool) -> str:
        """Return why the system is to hold no value of this type, or with references; else empty.

        A plan asks it where it asks `explain_value_refusal`.
        """
        return ""

    def explain_value_refusal(self, size: int, secret_type: str) -> str:
        """Return why the system takes no value of so many bytes and of this type; else empty.

        A plan asks it, and opens no value; only where `max_value_bytes` is below LARGEST_VALUE.
        """
        if size > self.max_value_bytes:
            return f"its value has {size:,} bytes, and the target takes {self.max_value_bytes:,} at most"
        return ""

    @property
    def checks_content(self) -> bool:
        """Whether the system takes values by what is in them: a plan opens those that it would write."""
        return False

    def explain_content_refusal(self, value: str) -> str:
        """Return why the system takes no such value; else empty. Nothing of the value is repeated."""
        return ""

    def reformats(self, remote: str) -> bool:
        """Return whether a value that was read may be one of Keeper's although its text is another."""
        return False

    def values_equal(self, local: str, remote: str) -> bool:
        """Return whether a value that was read is what an `update` with Keeper's value leaves there."""
        return hmac.compare_digest(local.encode(), remote.encode())

    @abstractmethod
    def check_connection(self) -> None:
        """Verify that the destination can be reached and listed, without any change."""

    @abstractmethod
    def probe_permissions(self) -> Iterable[Permission]:
        """Return the permissions of the credentials, without any change."""

    @abstractmethod
    def list_secrets(self) -> Iterator[SecretMetadata]:
        """Yield every secret under the prefix, also those waiting out a recovery window.

        Raises instead of ending early: a list that ends has been read to its end.
        """

    @abstractmethod
    def get_metadata(self, name: str) -> SecretMetadata:
        """Return the metadata of a name by a direct read; an absent secret has the presence ABSENT."""

    def batch_get_metadata(self, names: Collection[str]) -> dict[str, SecretMetadata]:
        """Return the metadata of many names by few requests.

        Names may be missing from the result, and the metadata may be stale. A match with the expected
        version is proof; a difference or a missing name is not.
        """
        return {}

    @abstractmethod
    def read_value(self, name: str) -> SecretValue | None:
        """Return value and version from one read, or None if nothing is there.

        `seen.mark` and `seen.remote_id` are there only if the same read shows them. Raises
        ValueUnusable if it is no value that Keeper can hold.
        """

    @abstractmethod
    def create(self, name: str, value: str, *, mark: Mark, token: str, known: bool = False) -> SecretMetadata:
        """Create a secret with its mark, only if nothing is at the name.

        With `known` the caller confirms the new secret (without `confirms_create`): it is not read here.
        `token` is the same when the same attempt is repeated, and makes the repetition harmless
        where the system supports that. Raises ChangedSinceRead if something is there, NameReserved
        if something deleted is, and CreateConflict if our mark is now on another writer's secret:
        whether that was another worker of ours, only the holder of the run's lease can decide. Raises
        OutcomeUnknown if the write was answered, and the look after it failed or is older than the write.
        """

    @abstractmethod
    def update(
        self, seen: SecretMetadata, value: str, *, token: str, known: bool = False, repeated: bool = False
    ) -> SecretMetadata:
        """Write a new value over the version in `seen`, compare-and-set, and confirm it.

        What is seen as deleted is what `restore` could not bring back.
        With `known` the caller has just seen that version with its mark, knows that it is a usable value,
        has not tried this write before, and confirms it: nothing is read.
        `repeated` means that the same write was tried before with an unknown outcome.
        Raises ChangedSinceRead if another version is there: nothing was overwritten; Overwritten if it came
        over what is not ours, which the system lets happen only where it cannot compare; and OutcomeUnknown
        as `create` does.
        """

    def may_destroy_version(self, seen: SecretMetadata) -> bool:
        """Return whether an `update` would destroy the present version, or may."""
        return False

    @abstractmethod
    def predict_version(self, version: str, *, token: str) -> str:
        """Return the version that a write with this token makes over another, or where nothing is ("").

        Or what is known of its name beforehand (see `version_matches`); empty if that is nothing: then a
        write whose outcome is unknown is not recognised, and counts as another client's.
        """

    @classmethod
    def words(cls, reason: Reason) -> str:
        """Return a reason of a plan as it is true of this system."""
        if reason is Reason.MARK_LOST and not cls.capabilities.keeps_marks:
            return "another client created it again or wrote it since; import it again to update it"
        if reason is Reason.NAME_HELD and not cls.capabilities.deletes_recoverably:
            return "another owner's secret has this name"
        return str(reason)

    @classmethod
    def is_write_of(cls, seen: SecretMetadata, intended: str) -> bool:
        """Return whether a look shows the version that an intent names.

        That is what `predict_version` returned, or `OutcomeUnknown.made`.
        """
        return version_matches(seen.version, intended)

    @classmethod
    def is_older(cls, seen: SecretMetadata, intended: str) -> bool:  # noqa: ARG003 - for those whose versions are ordered
        """Return whether a look is from before an answered write: nothing is there, or an earlier version.

        The caller knows the version that the write came over, and takes that for an older look as well.
        """
        return seen.presence is Presence.ABSENT

    @classmethod
    def is_behind(cls, seen: SecretMetadata, synced: str) -> bool:  # noqa: ARG003 - for those that can tell
        """Return whether a look shows a version that was there before the last synced one.

        No look is, where versions name neither an order nor the write that made them.
        """
        return False

    @abstractmethod
    def delete(self, seen: SecretMetadata) -> None:
        """Delete recoverably, only the version in `seen`; what changed in the meantime is restored.

        Raises ChangedSinceRead if another version is there.
        """

    @abstractmethod
    def restore(self, name: str) -> SecretMetadata:
        """Restore a deleted secret that is still recoverable."""

    @abstractmethod
    def mark(self, seen: SecretMetadata, mark: Mark) -> None:
        """Put our mark on an existing secret (to adopt it); its other labels stay."""

    @abstractmethod
    def unmark(self, seen: SecretMetadata) -> None:
        """Remove our mark from a secret (to disconnect it); its other labels stay."""

    def settled(self, seen: SecretMetadata) -> SecretMetadata:
        """Return what was seen, with the version that our own marking made of it, if that makes one."""
        return seen

    @classmethod
    def acts_after_writes(cls, destination: Mapping[str, str]) -> bool:  # noqa: ARG003 - for those that do
        """Return whether the target's rules ask for `after_writes`."""
        return False

    def after_writes(self) -> None:  # noqa: B027  optional
        """Do what follows the writes of a pass, by comparing: the next pass makes up for what was cut off.

        Raises a BackendError, which the run shows; what was written stays.
        """


class Overwrites(ABC):
    """A system whose `update` can come over another secret than the one that was seen: that is restored."""

    @abstractmethod
    def revert_write(self, over: SecretMetadata, written: str) -> None:
        """Restore what the version `written` replaced, if that was not the secret in `over`.

        Raises Overwritten once it is, or cannot be; returns where the write came over the right one.
        """

    @abstractmethod
    def revert_unconfirmed_write(
        self, over: SecretMetadata, *, makes: str, wrote: Callable[[str], bool], kept: str | None = None
    ) -> None:
        """Restore what an earlier write over `over` replaced, whose outcome is unknown.

        `makes` is what `predict_version` returned for that write, and `wrote` returns whether a value is that
        write's; `kept` is what `over` held (`SecretValue.raw`, or its value), if that is known. Raises
        Overwritten as `revert_write` does; returns where there is none, or it was over the right one.
        """


class Pending(ABC):
    """A system in which a pending version can exist beside the current one, under its own stage."""

    @abstractmethod
    def put_pending(self, seen: SecretMetadata, value: str, *, token: str) -> bool:
        """Put a version as pending beside the one in `seen`; False if another's is pending there.

        An `update` with the same token makes that very version current.
        """

    @abstractmethod
    def remove_pending(self, seen: SecretMetadata, *, token: str) -> None:
        """Remove the pending stage from the version of this token."""
