"""Compares values of the target with versions of Keeper's.

The version's keyed fingerprint settles it for a system that keeps texts. One that stores members of objects
gives the same object back as another text: then Keeper's version is opened, after an event, and both are
compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from environments_app.authorization.policy import Principal
from secrets_app.keys import fingerprints
from sync_app.backends.base import Backend
from sync_app.models import Plan
from sync_app.state.open_values import open_versions

# So many values of each side are held at once.
AT_A_TIME: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A value that was read, and the version of Keeper that it may be."""

    name: str
    version: UUID
    fingerprint: bytes
    remote: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ValueMatcher:
    """Compares for one plan."""

    actor: Principal
    plan: Plan
    backend: Backend

    def by_fingerprint(self, comparison: Comparison) -> bool | None:
        """Return whether both are the same; None if only Keeper's value decides. Opens nothing."""
        if fingerprints.matches(comparison.remote.encode(), comparison.fingerprint):
            return True
        return None if self.backend.reformats(comparison.remote) else False

    def by_value(self, comparisons: Sequence[Comparison]) -> list[bool | None]:
        """Open Keeper's versions, and return whether each is the same; None for one that does not open.

        Raises KeyUnavailable.
        """
        names = {each.version: each.name for each in comparisons}
        if not names:
            return []
        opened = open_versions(actor=self.actor, plan=self.plan, names=names, sources={}, step="compare")
        return [
            self.backend.values_equal(opened.values[each.version], each.remote)
            if each.version in opened.values
            else None
            for each in comparisons
        ]

    def matches(self, comparison: Comparison) -> bool | None:
        """Return whether both are the same, by fingerprint or value; None if Keeper's does not open."""
        found = self.by_fingerprint(comparison)
        return self.by_value([comparison])[0] if found is None else found
