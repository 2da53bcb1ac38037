"""Recognises Keeper's own writes to a target where nobody noted what became of them.

Their worker was killed, or never got an answer, and Keeper's side may have changed since. Before each
write the entry notes the base that this would make. If that very version is there, with our mark and
proved to be Keeper's, then it is the base, and nobody else changed anything.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeGuard

from secrets_app import fingerprints
from sync_app import keeper_side
from sync_app.backends.base import Backend, Copy
from sync_app.errors import BackendError, ValueUnusable
from sync_app.models import Target
from sync_app.ownership import intended_of
from sync_app.parallel import each, no_pulse
from sync_app.reconcile import Ownership, Presence
from sync_app.survey import Finding

_MOVED: Final = "the target's secret changed while it was looked at: plan again"


def recognise(
    target: Target, backend: Backend, findings: Mapping[str, Finding], *, pulse: Callable[[], None] = no_pulse
) -> None:
    """Note on each finding the base that such a write made, if it is there.

    Where others can make a version of that name too, its value has to be the one that was intended: it
    is read, compared with that one's keyed fingerprint, and forgotten. What was filled in has none. Where
    it cannot be read, nobody knows whose it is, and nothing is decided.
    """
    found = [finding for finding in findings.values() if may_be_own(target, finding)]
    if backend.next_version_is_proof:
        for finding in found:
            finding.own = intended_of(finding.entry)
        return
    known = keeper_side.fingerprints_of(_intended(finding) for finding in found)
    questions = [finding for finding in found if _intended(finding) in known]
    for finding, answer in each(lambda finding: backend.read(finding.name), questions, pulse=pulse):
        if isinstance(answer, ValueUnusable):
            # Keeper writes nothing like that: it is somebody else's.
            continue
        if isinstance(answer, BackendError):
            finding.problem = str(answer)
        elif not _is_here(answer, finding):
            finding.problem = _MOVED
        elif fingerprints.matches(answer.value.encode(), known[_intended(finding)]):
            finding.own = intended_of(finding.entry)


def may_be_own(target: Target, finding: Finding) -> bool:
    """Say whether the target holds the version, and our mark, that a write of ours would have left."""
    intended, seen = intended_of(finding.entry), finding.seen
    return (
        intended is not None
        and seen is not None
        and seen.presence is Presence.PRESENT
        and seen.version == intended.target
        and finding.ownership(target) is not Ownership.NONE
    )


def _intended(finding: Finding) -> str:
    """Return Keeper's version that was to be written."""
    intended = intended_of(finding.entry)
    return intended.keeper if intended else ""


def _is_here(copy: Copy | None, finding: Finding) -> TypeGuard[Copy]:
    """Say whether a copy is of the version that was seen."""
    return copy is not None and finding.seen is not None and copy.seen.version == finding.seen.version
