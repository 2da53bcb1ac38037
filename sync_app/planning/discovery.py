"""A pass's view of both sides: names and versions, and values only where versions do not decide.

Nothing is changed here. What the target lists may lag behind; whatever differs from the entry, or
is missing from the list, is read separately before anything is concluded from it.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sync_app.backends.base import Backend
from sync_app.backends.observations import SecretMetadata, SecretValue, version_matches
from sync_app.backends.registry import capabilities_of
from sync_app.domain.reconciliation import (
    GONE,
    Base,
    Direction,
    Item,
    Ownership,
    Presence,
    Reason,
    Side,
    needs_value_comparison,
)
from sync_app.errors import BackendError
from sync_app.jobs.leases import database_now
from sync_app.jobs.worker_pool import LOOK_PAUSES, ReadAhead, no_heartbeat, run_each
from sync_app.models import SyncEntry, Target
from sync_app.state import entry_rows, local_state
from sync_app.state.local_state import LocalSecret, TagVerdict, judge_tags
from sync_app.state.open_values import AT_A_TIME, Comparison, ValueMatcher
from sync_app.state.ownership import (
    intended_base,
    is_same_secret,
    is_stale,
    last_synced,
    prove_ownership,
    target_side,
)
from sync_app.state.value_forms import is_in_other_form, keeper_side

_UNREADABLE: Final = Side(presence=Presence.UNREADABLE)
_STALE: Final = Side(presence=Presence.STALE)
# Within so long after a delivery, a look that is older than it may be of a node that lags.
_JUST_NOW: Final = timedelta(minutes=1)
_SEEN: Final = Side(presence=Presence.PRESENT, version="synced")
# What `reconcile` needs to know of a secret that is as it was synced, whatever its versions are.
IN_STEP: Final = Item(
    keeper=_SEEN,
    target=_SEEN,
    base=Base(keeper=_SEEN.version, target=_SEEN.version),
    ownership=Ownership.CREATED,
)


@dataclass(kw_only=True, slots=True)
class Finding:
    """One name: what Keeper holds, what the target showed, and what was known."""

    name: str
    local: LocalSecret | None = None
    remote: SecretMetadata | None = None
    entry: SyncEntry | None = None
    equal: bool | None = None
    # What a write of ours made the last synced, where it is there and its outcome was not noted.
    recovered_base: Base | None = None
    # The operator's sentence, where the target's side could not be read.
    problem: str = ""
    # Whether Keeper's secret is gone although Keeper did not delete it.
    lost: bool = False
    # Whether Keeper has the secret, and the target's tags leave it out: `local` is None then.
    left_out: bool = False
    # Whether it is not certain that Keeper stored the tags that decide.
    unproved: bool = False
    # An entry that goes: of a withdrawn secret whose name now belongs to another writer, or of a name whose
    # place in the target is another secret's.
    released_entry: SyncEntry | None = None
    # The name under which the entry is stored: the secret was renamed, and is the same name in the target.
    former_name: str = ""
    # Whether the entry was claimed for creation, and its former data of the existing secret were restored.
    existed_before: bool = False
    # Whether the versions of both sides, and what proves them, are those of the entry (`_is_in_step`).
    in_step: bool = False

    @property
    def base(self) -> Base | None:
        return self.recovered_base or last_synced(self.entry)

    def ownership(self, target: Target) -> Ownership:
        secret = self.local.secret_uuid if self.local else None
        return prove_ownership(target, self.entry, self.remote, secret=secret)

    @property
    def is_guarded(self) -> bool:
        """Whether nothing that shows what Keeper's value equals may decide."""
        return self.local is not None and self.local.guarded

    @property
    def is_delivered(self) -> bool:
        """Whether Keeper's entry claims it, and a look did not show that nothing is there."""
        absent = self.remote is not None and self.remote.presence is Presence.ABSENT
        return is_claimed(self.entry) and not absent

    @property
    def is_in_both(self) -> bool:
        sides = (self.local, self.remote)
        return all(side is not None and side.presence is Presence.PRESENT for side in sides)

    def was_owned(self, target: Target) -> bool:
        """Return whether our entry records it as owned, and the existing secret does not prove it."""
        if self.in_step:
            return False
        return is_claimed(self.entry) and self.ownership(target) is Ownership.NONE

    def to_item(self, target: Target) -> Item:
        if self.in_step:
            return IN_STEP
        return Item(
            keeper=self._keeper_side(target),
            target=self._target_side(target),
            base=self.base,
            ownership=self.ownership(target),
            equal=self.equal,
            was_owned=self.was_owned(target),
        )

    def _target_side(self, target: Target) -> Side:
        seen = None if self.problem else self.remote
        if self.recovered_base is None and is_stale(target, self.entry, seen):
            return _STALE
        return _UNREADABLE if self.problem else target_side(self.entry, self.remote)

    def _keeper_side(self, target: Target) -> Side:
        if self.lost or self.unproved:
            return _UNREADABLE
        return keeper_side(target, self.local, self.entry) if self.local else GONE


def discover(
    target: Target, backend: Backend, *, heartbeat: Callable[[], None] = no_heartbeat
) -> dict[str, Finding]:
    """Return what is known of every name that Keeper, the target or an entry has, in its scope.

    Reads no value. Raises a BackendError if the target cannot be listed to its end: nothing is concluded
    from a part.
    """
    # The list is a wait for the target, and Keeper's side one for the database.
    with ReadAhead(backend.list_secrets) as listed:
        findings = _look_at_keeper(target)
        _follow_renamed(backend, findings)
        _note_listed(target, backend, findings, listed.items(heartbeat=heartbeat))
    # What is left out, and never was in the target, is not counted by a plan.
    findings = {
        name: finding
        for name, finding in findings.items()
        if not (finding.left_out and finding.entry is None and finding.remote is None)
    }
    for finding in findings.values():
        finding.in_step = _is_in_step(target, finding)
    others = [finding for finding in findings.values() if not finding.in_step]
    if backend.capabilities.list_is_complete:
        # Nothing is at names that a whole list does not show, and that were never known there.
        for finding in others:
            if finding.remote is None and not _is_known(finding.entry):
                finding.remote = SecretMetadata(name=finding.name, presence=Presence.ABSENT)
    doubtful = [finding for finding in others if _is_doubtful(target, finding)]
    refresh(backend, doubtful, heartbeat=heartbeat)
    _correct_claims(target, others)
    _mark_lost(target, findings)
    return findings


def _look_at_keeper(target: Target) -> dict[str, Finding]:
    findings = {
        secret.name: Finding(name=secret.name, local=secret)
        for secret in local_state.list_local(target.environment, scope=str(target.scope))
    }
    for entry in entry_rows.load_under(target, str(target.scope)):
        findings.setdefault(entry.name, Finding(name=entry.name)).entry = entry
    _leave_out_by_tags(target, findings.values())
    return findings


def _follow_renamed(backend: Backend, findings: dict[str, Finding]) -> None:
    """Give the entry of a renamed secret to its new name, if both are one name in the target.

    Otherwise what is in use there would be deleted as that of the old name. Nor does a name without a secret
    claim what was delivered there for another one since.
    """
    if not backend.maps_names:
        return
    present = {finding.local.secret_uuid: finding for finding in findings.values() if finding.local}
    holders = {backend.remote_name(each.name): each for each in present.values() if is_claimed(each.entry)}
    for former in list(findings.values()):
        entry, there = former.entry, backend.remote_name(former.name)
        if entry is None or not is_claimed(entry) or entry.intended_target:
            continue
        finding = present.get(entry.secret_uuid) if entry.secret_uuid else None
        if finding and finding is not former and backend.remote_name(finding.name) == there:
            if not is_claimed(finding.entry):
                finding.entry, finding.released_entry, former.entry = entry, finding.entry, None
                finding.former_name, entry.name = former.name, finding.name
        elif former.local is None and not former.left_out and holders.get(there, former) is not former:
            former.entry, former.released_entry = None, entry


def is_claimed(entry: SyncEntry | None) -> bool:
    """Return whether an entry says that what is in the target is Keeper's."""
    return entry is not None and entry.ownership != Ownership.NONE


def _note_listed(
    target: Target, backend: Backend, findings: dict[str, Finding], listed: Iterable[SecretMetadata]
) -> None:
    # Of several that are one name there, what is there is of the one that Keeper delivered.
    delivered = sorted(findings.values(), key=lambda finding: is_claimed(finding.entry))
    names, scope = {backend.remote_name(each.name): each.name for each in delivered}, str(target.scope)
    for seen in listed:
        # Another client's secret may have the name that one of Keeper's becomes there.
        name = names.get(backend.remote_name(seen.name), seen.name)
        if name in findings or local_state.is_in_scope(scope, name):
            findings.setdefault(name, Finding(name=name)).remote = replace(seen, name=name)


def discover_names(
    target: Target, backend: Backend, names: Iterable[str], *, heartbeat: Callable[[], None] = no_heartbeat
) -> dict[str, Finding]:
    """Return the state of some names, each read separately."""
    local_secrets = local_state.find_local(target.environment, list(names))
    findings = {name: Finding(name=name, local=local_secrets.get(name)) for name in names}
    for name, entry in entry_rows.load_named(target, findings).items():
        findings[name].entry = entry
    _leave_out_by_tags(target, findings.values())
    refresh(backend, findings.values(), heartbeat=heartbeat)
    _correct_claims(target, findings.values())
    return findings


def refresh(
    backend: Backend, findings: Iterable[Finding], *, heartbeat: Callable[[], None] = no_heartbeat
) -> None:
    """Read each of these names separately, and note those that could not be read.

    What was delivered just now, and is absent or older, is read again after a pause: a node may lag.
    """
    left = list(findings)
    since = database_now() - _JUST_NOW if left else None
    for pause in (0.0, *LOOK_PAUSES):
        time.sleep(pause)
        for finding, answer in run_each(
            lambda finding: backend.get_metadata(finding.name), left, heartbeat=heartbeat
        ):
            if isinstance(answer, BackendError):
                finding.problem = str(answer)
            else:
                finding.remote, finding.problem = answer, ""
        left = [finding for finding in left if _may_lag(backend, finding, since)]
        if not left:
            return


def _may_lag(backend: Backend, finding: Finding, since: datetime | None) -> bool:
    """Return whether a look is older than what was delivered there since a time."""
    entry, seen, base = finding.entry, finding.remote, last_synced(finding.entry)
    if entry is None or seen is None or base is None or entry.synced_at is None or since is None:
        return False
    delivered = entry.synced_at > since and entry.ownership != Ownership.NONE
    return delivered and not finding.problem and backend.is_older(seen, base.target)


def compare_values(
    matcher: ValueMatcher,
    findings: Mapping[str, Finding],
    *,
    heartbeat: Callable[[], None] = no_heartbeat,
    everything: bool = False,
) -> None:
    """Compare values whose versions do not decide, by reading the target's.

    The target's value is compared with Keeper's keyed fingerprint, or if that leaves it open with the value,
    and forgotten. `everything` compares also where the rules would not ask. A system that shows no value is
    not asked. Raises KeyUnavailable.
    """
    if not matcher.backend.capabilities.reads_values:
        return
    target, waiting = matcher.plan.target, []
    questions = [
        finding
        for finding in findings.values()
        if not finding.is_guarded
        and ((not finding.in_step and needs_value(target, finding)) or (everything and finding.is_in_both))
    ]
    for finding, answer in run_each(
        lambda finding: matcher.backend.read_value(finding.name), questions, heartbeat=heartbeat
    ):
        if isinstance(answer, BackendError):
            finding.problem = str(answer)
            continue
        comparison = _comparison(finding, answer)
        finding.equal = matcher.by_fingerprint(comparison) if comparison else None
        if comparison and finding.equal is None:
            waiting.append((finding, comparison))
        if len(waiting) >= AT_A_TIME:
            _compare_opened(matcher, waiting)
            waiting = []
    _compare_opened(matcher, waiting)


def _compare_opened(matcher: ValueMatcher, waiting: list[tuple[Finding, Comparison]]) -> None:
    answers = matcher.by_value([comparison for _, comparison in waiting])
    for (finding, _), equal in zip(waiting, answers, strict=True):
        finding.equal = equal


def needs_value(target: Target, finding: Finding) -> bool:
    """Return whether the target's value has to be read: never that of a secret which is not our business."""
    if not capabilities_of(target.backend).reads_values:
        return False
    item = finding.to_item(target)
    if finding.local is not None and finding.local.resolution:
        # Keeper's side is known only when it is delivered: there is nothing to compare with.
        return False
    if target.rules.direction is Direction.PUSH and not item.owned:
        return False
    return needs_value_comparison(item)


def _leave_out_by_tags(target: Target, findings: Iterable[Finding]) -> None:
    """Take away Keeper's side of what the target's tags leave out; note what is uncertain."""
    present = {
        finding.local.secret_uuid: finding
        for finding in findings
        if finding.local is not None and finding.local.presence is Presence.PRESENT
    }
    local_secrets = [finding.local for finding in present.values() if finding.local is not None]
    for uuid, verdict in judge_tags(target, local_secrets).items():
        finding = present[uuid]
        owned = is_claimed(finding.entry)
        if verdict is TagVerdict.UNPROVED or (verdict is TagVerdict.UNTAGGED and owned):
            finding.unproved = True
        elif verdict is not TagVerdict.SELECTED:
            finding.local, finding.left_out = None, True


def _correct_claims(target: Target, findings: Iterable[Finding]) -> None:
    """Correct what an entry claims by what the target holds.

    A name that Keeper gave up is whose it is. What was about to be created, since it was not found, and is
    there as it was before, is what it was.
    """
    for finding in findings:
        entry, seen = finding.entry, finding.remote
        if entry is None or seen is None or seen.presence not in {Presence.PRESENT, Presence.DELETED}:
            continue
        if seen.remote_id and seen.remote_id == entry.claimed_from_state.get("remote_id"):
            entry.restore_claimed_from(entry.claimed_from_state)
            entry.clear_intent()
            finding.existed_before = True
        withdrawn = entry.reason == Reason.WITHDRAWN and seen.presence is Presence.PRESENT
        if withdrawn and finding.ownership(target) is Ownership.NONE:
            finding.entry, finding.released_entry = None, entry


def _mark_lost(target: Target, findings: Mapping[str, Finding]) -> None:
    """Note of which secrets, still there and ours, Keeper's side went without Keeper."""
    gone = {
        name: finding.entry.secret_uuid
        for name, finding in findings.items()
        if finding.local is None
        and not finding.left_out
        and finding.entry is not None
        and finding.remote is not None
        and finding.remote.presence is Presence.PRESENT
        and finding.ownership(target) is not Ownership.NONE
    }
    for name in local_state.find_unexplained_losses(target.environment, gone):
        findings[name].lost = True


def _comparison(finding: Finding, copy: SecretValue | None) -> Comparison | None:
    """Return the values to compare; None if the target's side changed while it was looked at."""
    local = finding.local
    if copy is None or local is None or finding.remote is None or local.resolution:
        return None
    if copy.metadata.version != finding.remote.version or local.version_uuid is None:
        return None
    return Comparison(
        name=finding.name, version=local.version_uuid, fingerprint=local.fingerprint, remote=copy.value
    )


def _is_in_step(target: Target, finding: Finding) -> bool:
    """Return whether both sides are as they were synced last, by versions and proofs alone."""
    local, seen, entry = finding.local, finding.remote, finding.entry
    if local is None or seen is None or entry is None or finding.unproved:
        return False
    return (
        local.presence is seen.presence is Presence.PRESENT
        and local.version == entry.base_keeper != ""
        and seen.version == entry.base_target != ""
        # What is claimed for its creation has no base.
        and not (entry.intended_keeper or entry.intended_target)
        and finding.ownership(target) is not Ownership.NONE
        and not is_in_other_form(target, local, entry)
    )


def _is_known(entry: SyncEntry | None) -> bool:
    return last_synced(entry) is not None or is_claimed(entry)


def _is_doubtful(target: Target, finding: Finding) -> bool:
    """Return whether a list alone does not settle what is at a name."""
    entry, seen = finding.entry, finding.remote
    if seen is None:
        pulled = target.rules.direction is Direction.PULL and last_synced(entry) is None
        # An entry is forgotten only where it is known that nothing is there any more.
        return _is_known(entry) if finding.local is None else not pulled
    if intended_base(entry) is not None:
        # A list may be older than what was intended, and show the version before it.
        return True
    if entry is None or last_synced(entry) is None:
        return False
    owned = entry.ownership != Ownership.NONE
    return (
        seen.presence is not Presence.PRESENT
        or not version_matches(seen.version, entry.base_target)
        or not is_same_secret(entry, seen)
        or (owned and finding.ownership(target) is Ownership.NONE)
    )
