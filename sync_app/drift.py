"""Looks how each secret stands at a target, by metadata only: no value is read, nothing is changed."""

from collections import Counter

from audit_app.actions import Action
from sync_app import entries
from sync_app.authority import principal_of
from sync_app.backends.base import Backend
from sync_app.credentials import connected
from sync_app.drafts import refuse_references, synced
from sync_app.finding import require_on
from sync_app.leases import Lease
from sync_app.models import Run, Target
from sync_app.own_writes import claim_of
from sync_app.parallel import no_pulse
from sync_app.reconcile import Coverage
from sync_app.survey import Finding, needs_reading, survey


def check(run: Run, *, lease: Lease | None = None) -> dict[str, int]:
    """Note how each secret stands; return how many stand how.

    Raises a BackendError if the target cannot be listed to its end, Forbidden or Invisible,
    TargetConflict or Tampered, KeyUnavailable.
    """
    actor = principal_of(run)
    require_on(actor=actor, action=Action.TARGET_PLAN, target=run.target)
    with connected(actor=actor, target=run.target) as backend:
        return look(run.target, backend=backend, lease=lease)


def look(target: Target, *, backend: Backend, lease: Lease | None = None) -> dict[str, int]:
    """Note by this backend how each secret of a target stands; return how many stand how."""
    found = survey(target, backend, pulse=lease.pulse_or_leave if lease else no_pulse)
    drawn = synced(target, found, coverage=Coverage(keeper=True, target=True))
    refuse_references(target, drawn)
    # Where only the values could tell, or the next pass will, what the last pass found stands.
    told = [each for each in drawn if not _is_open(target, each.finding)]
    entries.note(target, told, lease=lease, forget=True)
    return dict(sorted(Counter(str(entries.state_after(draft)) for draft in drawn).items()))


def _is_open(target: Target, finding: Finding) -> bool:
    """Say whether metadata do not tell how a secret stands."""
    return claim_of(target, finding) is not None or (finding.base is None and needs_reading(target, finding))
