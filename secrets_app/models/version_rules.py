"""What decides about the versions of a secret besides their rows: which are gone, and rules of writers."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Self

from django.utils import timezone

from core.canonical_json import utc_text

DELETED, DESTROYED = "deleted", "destroyed"
_HIDDEN, _CAS, _MAX = "hidden", "cas_required", "max_versions"
_OLDEST, _WRITES, _AFTER, _TYPES = "oldest", "metadata_version", "delete_version_after", "types"
# As a limit: no version ends.
NEVER: Final = -1
# What the column of one secret may hold.
MAX_GONE: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class VersionRules:
    """Versions that are deleted (and when) or destroyed, and what clients of KV v2 demand of writers.

    A version may have a time to come: it can be read until then.
    `hidden`: a client of KV v2 deleted the secret with all its versions, and sees none of it any more.
    """

    deleted: Mapping[int, datetime] = field(default_factory=dict)
    destroyed: Collection[int] = frozenset()
    hidden: bool = False
    cas_required: bool = False
    max_versions: int = 0
    # Clients of KV v2 see no version before it.
    oldest: int = 0
    # How often a client wrote the metadata.
    metadata_version: int = 0
    # How many seconds a new version can be read, 0 for always.
    delete_version_after: int = 0
    # The former types of the secret, each by the number of the last version that was written as it.
    types: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> Self:
        """Return what a column holds; nothing of what Keeper never wrote, which no MAC covers."""
        try:
            return cls._of(stored) if stored else cls()
        except (ValueError, TypeError, AttributeError):
            return cls()

    @classmethod
    def _of(cls, stored: Mapping[str, Any]) -> Self:
        deleted = {int(number): datetime.fromisoformat(at) for number, at in stored.get(DELETED, {}).items()}
        return cls(
            deleted=deleted,
            destroyed=frozenset(stored.get(DESTROYED, ())),
            hidden=bool(stored.get(_HIDDEN)),
            cas_required=bool(stored.get(_CAS)),
            max_versions=int(stored.get(_MAX, 0)),
            oldest=int(stored.get(_OLDEST, 0)),
            metadata_version=int(stored.get(_WRITES, 0)),
            delete_version_after=int(stored.get(_AFTER, 0)),
            types={int(number): str(kind) for number, kind in stored.get(_TYPES, {}).items()},
        )

    def stored(self) -> dict[str, Any] | None:
        """Return what the column holds; None for nothing."""
        members = {
            DELETED: {str(number): utc_text(at) for number, at in sorted(self.deleted.items())},
            DESTROYED: sorted(self.destroyed),
            _HIDDEN: self.hidden,
            _CAS: self.cas_required,
            _MAX: self.max_versions,
            _OLDEST: self.oldest,
            _WRITES: self.metadata_version,
            _AFTER: self.delete_version_after,
            _TYPES: {str(number): kind for number, kind in sorted(self.types.items())},
        }
        return {name: value for name, value in members.items() if value} or None

    def state(self, number: int) -> str:
        """Return DESTROYED, DELETED, or nothing for a version that can be read."""
        if number in self.destroyed:
            return DESTROYED
        ends = self.deleted.get(number)
        return DELETED if ends is not None and ends <= timezone.now() else ""

    def type_of(self, number: int, *, now: str) -> str:
        """Return the type that the secret had when a version was written; `now` is its type of today."""
        return next((kind for last, kind in sorted(self.types.items()) if number <= last), now)

    def retyped(self, former: str, *, first: int) -> Self:
        """Return the rules once a secret has another type, as whose first version `first` was written."""
        last = first - 1
        if last <= max(self.types, default=0):
            return self
        return replace(self, types={**self.types, last: former})

    def ending(self, numbers: Iterable[int], *, at: datetime, limit: int) -> Self:
        """Return the rules with an end for versions that can be read from `at` on, or with none.

        `limit` is what the environment has for all secrets, in seconds: the shorter time counts, and NEVER
        more than either.
        """
        seconds = min(filter(None, (self.delete_version_after, limit)), default=0)
        kept = {number: end for number, end in self.deleted.items() if number not in {*numbers}}
        ends = dict.fromkeys(numbers, at + timedelta(seconds=seconds)) if seconds > 0 else {}
        return replace(self, deleted={**kept, **ends})

    def following(self, number: int, *, at: datetime, limit: int) -> Self:
        """Return the rules once a version is current, written at a time.

        Of `max_versions` the older ones are out of sight; where versions end, so does this one.
        """
        if not limit and self == _NONE:
            # Of most secrets: to build equal ones is a tenth of what a creation in bulk costs.
            return self
        oldest = number - self.max_versions + 1 if self.max_versions else 0
        return replace(self.ending([number], at=at, limit=limit), oldest=max(self.oldest, oldest))

    def without(self, numbers: Iterable[int], *, at: datetime) -> Self:
        """Return the rules with more versions deleted, which could be read until now."""
        return replace(self, deleted={**self.deleted, **dict.fromkeys(numbers, at)})

    def again(self, numbers: Collection[int], *, limit: int) -> Self:
        """Return the rules with deleted versions restored; a secret with one of them is hidden no more.

        Where versions end, so do these, counted from now.
        """
        return replace(self.ending(numbers, at=timezone.now(), limit=limit), hidden=False)

    def hiding(self) -> Self:
        """Return the rules of a secret of which clients of KV v2 see nothing."""
        return replace(self, hidden=True)

    def destroying(self, numbers: Collection[int]) -> Self:
        """Return the rules with more versions destroyed."""
        return replace(self, destroyed={*self.destroyed, *numbers})


_NONE: Final = VersionRules()
