"""What a pass works with, handed to each of its batches."""

from collections.abc import Mapping
from dataclasses import dataclass

from environments_app.policy import Principal
from environments_app.second_person import Clearance
from sync_app.acts import Shown
from sync_app.backends.base import Backend
from sync_app.leases import Lease
from sync_app.models import Plan
from sync_app.pace import Pace
from sync_app.parallel import Crew, no_pulse


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a pass works with."""

    plan: Plan
    backend: Backend
    actor: Principal
    lease: Lease | None
    pace: Pace
    crew: Crew
    clearance: Clearance
    # What the look that the plan was drawn from showed, where it has only just been drawn.
    shown: Mapping[str, Shown]

    def hold(self, **changes: object) -> None:
        """Make sure, in a transaction, that this worker is still the one that may write."""
        if self.lease:
            self.lease.hold(**changes)

    def pulse(self) -> None:
        """Keep the lease while the target is slow."""
        (self.lease.pulse if self.lease else no_pulse)()

    def refuse_if_over(self) -> None:
        """Raise LeaseLost, in any thread, if this worker slept so long that another may have taken over."""
        if self.lease:
            self.lease.refuse_if_over()
