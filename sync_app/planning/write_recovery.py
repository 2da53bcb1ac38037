"""Recognises Keeper's own writes to a target whose outcome was not stored.

Their worker was killed, or never got an answer, and Keeper's side may have changed since. Before each
write the entry notes the base that this would make. If that very version is there, with our mark and
proved to be Keeper's, then it is the base, and no other writer changed anything. In the same way the base
that an earlier Keeper noted by a number alone is taken over, once.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeGuard
from uuid import UUID

from sync_app.backends.base import Backend
from sync_app.backends.observations import SecretValue, version_matches
from sync_app.backends.registry import backend_of
from sync_app.domain.reconciliation import Base, Direction, Ownership, Presence
from sync_app.errors import BackendError, ValueUnusable
from sync_app.jobs.worker_pool import no_heartbeat, run_each
from sync_app.models import Target
from sync_app.planning.discovery import Finding
from sync_app.state import local_state
from sync_app.state.open_values import Comparison, ValueMatcher
from sync_app.state.ownership import awaits_look, intended_base, is_same_secret, last_synced

_MOVED: Final = "the target's secret changed while it was looked at: plan again"


def recover_unacknowledged_writes(
    matcher: ValueMatcher, findings: Mapping[str, Finding], *, heartbeat: Callable[[], None] = no_heartbeat
) -> None:
    """Note on each finding the base that such a write made, if it is there.

    Where others can make a version of that name too, its value has to be the one that was intended: it
    is read, compared with the version's keyed fingerprint or its value, and forgotten. What was filled in has
    none. If it cannot be read, its writer is unknown, and nothing is decided. Raises KeyUnavailable.
    """
    target, backend = matcher.plan.target, matcher.backend
    claims_of: dict[str, list[Base]] = {}
    for name, finding in findings.items():
        if finding.in_step or finding.is_guarded:
            continue
        claim = claimed_base(target, finding)
        if claim is None:
            claims_of[name] = _held_before(target, finding, backend)
        elif _proves_itself(finding, claim, backend) or _is_without_fingerprint(finding, claim):
            finding.recovered_base = claim
        else:
            claims_of[name] = [claim]
    fingerprints = local_state.load_fingerprints(
        claim.keeper for claims in claims_of.values() for claim in claims
    )
    questions = [
        findings[name]
        for name, claims in claims_of.items()
        if any(claim.keeper in fingerprints for claim in claims)
    ]
    for finding, answer in run_each(
        lambda finding: backend.read_value(finding.name), questions, heartbeat=heartbeat
    ):
        if isinstance(answer, ValueUnusable):
            # Keeper never writes this: it belongs to another writer.
            continue
        if isinstance(answer, BackendError):
            finding.problem = str(answer)
        elif not _is_same_version(answer, finding):
            finding.problem = _MOVED
        else:
            matching = (
                claim
                for claim in claims_of[finding.name]
                if claim.keeper in fingerprints
                and matcher.matches(
                    Comparison(
                        name=finding.name,
                        version=UUID(claim.keeper),
                        fingerprint=fingerprints[claim.keeper],
                        remote=answer.value,
                    )
                )
            )
            finding.recovered_base = next(matching, None)


def claimed_base(target: Target, finding: Finding) -> Base | None:
    """Return what would be the last synced, where a part of the name of the target's version is known.

    It is that of our write with an unstored outcome; or what was synced last, where an earlier
    Keeper noted less of its name than it has.
    """
    seen, entry = finding.remote, finding.entry
    if seen is None or entry is None or seen.presence is not Presence.PRESENT:
        return None
    owned = finding.ownership(target) is not Ownership.NONE
    intended, base = intended_base(entry), last_synced(entry)
    # What was synced last is no newer write, even where it is of the same second.
    is_new = base is None or seen.version != base.target
    if (
        owned
        and is_new
        and intended is not None
        and backend_of(target.backend).is_write_of(seen, intended.target)
    ):
        return replace(intended, target=seen.version)
    may_be_read = (owned or target.rules.direction is not Direction.PUSH) and is_same_secret(entry, seen)
    if may_be_read and base is not None and _is_shorter(base.target, seen.version):
        return replace(base, target=seen.version)
    return None


def _held_before(target: Target, finding: Finding, backend: Backend) -> list[Base]:
    """Return what Keeper meant to write and what was synced last, under the target's new version.

    If it holds the value of one of them, then no other client changed the value: the version may be of an
    edit beside it, or of a request of ours that arrived twice, or after Keeper had given it up. Asked where
    Keeper's side changed as well: else the values of both sides are compared.
    """
    seen, local, base = finding.remote, finding.local, last_synced(finding.entry)
    if seen is None or local is None or seen.presence is not Presence.PRESENT:
        return []
    if not backend.capabilities.reads_values or finding.ownership(target) is Ownership.NONE:
        return []
    if base is not None and base.target == seen.version:
        return []
    earlier = (intended_base(finding.entry), base)
    return [replace(each, target=seen.version) for each in earlier if each and each.keeper != local.version]


def _proves_itself(finding: Finding, claim: Base, backend: Backend) -> bool:
    """Return whether no value has to be read: the version is known to be ours, or no value is shown.

    What the system answered to the write names the whole version.
    """
    entry = finding.entry
    answered = entry is not None and awaits_look(entry) and claim.target == entry.intended_target
    capabilities = backend.capabilities
    return answered or capabilities.predicted_version_is_unique or not capabilities.reads_values


def _is_shorter(name: str, version: str) -> bool:
    return name != version and version_matches(version, name)


def _is_without_fingerprint(finding: Finding, claim: Base) -> bool:
    """Return whether a value that was synced last holds what references filled in: it cannot be compared."""
    base = last_synced(finding.entry)
    is_base = base is not None and _is_shorter(base.target, claim.target) and base.keeper == claim.keeper
    return is_base and local_state.is_substituted(claim.keeper)


def _is_same_version(copy: SecretValue | None, finding: Finding) -> TypeGuard[SecretValue]:
    return copy is not None and finding.remote is not None and copy.metadata.version == finding.remote.version
