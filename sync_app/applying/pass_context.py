"""What a pass works with, handed to each of its batches."""

from collections.abc import Mapping
from dataclasses import dataclass

from environments_app.approvals.gate import ApprovalGrant
from environments_app.authorization.policy import Principal
from sync_app.backends.base import Backend
from sync_app.backends.observations import Observation
from sync_app.jobs.leases import Lease
from sync_app.jobs.worker_pool import RateLimiter, WorkerPool, no_heartbeat
from sync_app.models import Plan


@dataclass(frozen=True, kw_only=True)
class ApplyContext:
    """What a pass works with."""

    plan: Plan
    backend: Backend
    actor: Principal
    lease: Lease | None
    rate_limiter: RateLimiter
    workers: WorkerPool
    approval: ApprovalGrant
    # What the look that the plan was drawn from showed, where it has only just been drawn.
    observations: Mapping[str, Observation]

    def heartbeat(self) -> None:
        (self.lease.heartbeat if self.lease else no_heartbeat)()

    def require_lease(self) -> None:
        """Raise LeaseLost, in any thread, if this worker slept so long that another may have taken over."""
        if self.lease:
            self.lease.require_unexpired()
