"""What a key provider does: it wraps data keys under a key encryption key that it never gives out."""

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A new data key: in the clear (never in the repr), wrapped, and by which key."""

    plain: bytes = field(repr=False)
    wrapped: bytes
    key_uri: str


@dataclass(frozen=True, kw_only=True)
class KeyDescription:
    """The description of a key encryption key by its provider.

    `state` is the provider's own word for it; `rotates` whether its material is replaced
    regularly, None if that is unknown or does not apply; `note` states the reason.
    """

    key_uri: str
    state: str
    usable: bool
    rotates: bool | None = None
    note: str = ""


class KeyProvider(ABC):
    """Wraps and unwraps data keys, each bound to an encryption context.

    `remote` is true if wrapping and unwrapping need the network. `calls` counts the requests to the
    provider, by operation.
    """

    name: ClassVar[str]
    remote: ClassVar[bool]

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._calls_lock = threading.Lock()

    @abstractmethod
    def resolve(self, reference: str, *, fresh: bool = False) -> str:
        """Return the lasting URI of the key that `reference` names ("": the installation's).

        An answer may be some minutes old unless it has to be `fresh`, as it has to for what is
        wrapped now. Raises KeyUnavailable or KeyRefused.
        """

    def require_usable(self, reference: str) -> None:
        """Check at the keeper of the key that `reference` names a key which can wrap data keys.

        Raises KeyUnavailable, with advice if the reference is wrong, or KeyRefused.
        """
        self.resolve(reference, fresh=True)

    @abstractmethod
    def generate(self, *, key_uri: str, context: Mapping[str, str]) -> Generated:
        """Return a new data key of 32 bytes, wrapped by `key_uri` and bound to `context`.

        Raises KeyUnavailable if the key cannot be used now, KeyRefused if it may not be.
        """

    @abstractmethod
    def wrap(self, *, key_uri: str, plain: bytes, context: Mapping[str, str]) -> bytes:
        """Return a data key that another provider generated, wrapped and bound to `context`.

        Raises as `generate` does.
        """

    @abstractmethod
    def unwrap(self, *, key_uri: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the data key in the clear.

        Raises WrongContext if `wrapped` was not made by this key for this context,
        KeyUnavailable if the key cannot be used now, KeyRefused if it may not be.
        """

    @abstractmethod
    def rewrap(self, *, key_uri: str, wrapped: bytes, context: Mapping[str, str], to_key_uri: str) -> bytes:
        """Return a wrapped data key, wrapped by another key instead and bound to the same context.

        Where the keeper can do it, the data key in the clear never comes here. Raises what
        `unwrap` and `generate` raise, for either key.
        """

    @abstractmethod
    def describe(self, key_uri: str) -> KeyDescription:
        """Return the state of a key encryption key. Raises KeyUnavailable or KeyRefused."""

    @abstractmethod
    def enable_automatic_rotation(self, key_uri: str) -> bool:
        """Let the keeper replace the key's material regularly; False if it did already or never can.

        Raises KeyUnavailable or KeyRefused.
        """

    def recheck(self) -> None:
        """Do nothing, or make sure that what is kept in memory could be had again after a restart.

        Raises KeyUnavailable if it could not.
        """
        return

    def count(self, operation: str) -> None:
        with self._calls_lock:
            self.calls[operation] += 1
