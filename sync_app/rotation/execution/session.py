"""One claim of a rotation: its lease, and what it works with.

A lease is in database time, and is the only way in which the row of a rotation is changed. A claim raises
the epoch; every change demands the epoch, the owner and the step that it continues from. So a worker that
was paused, and wakes up after another has gone on, changes nothing: not in Keeper, and, by the fence, not
on the other system. Only to continue to a step seals the row again, which was seen to be genuine before;
letting go of one or stopping it vouches for nothing in it.

A claim has the row, its requester, the rotator, and the values that it has opened. The policy's credentials
and the values are opened once a claim, with one event, and again only for a version that is missing. The
version that will be served is read from the database before it is promoted: what is stored has to be what
logs in.
"""

import time
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import F, Q, QuerySet

from core.canonical_json import Json
from core.db.concurrency import claim as claim_row
from core.db.concurrency import unleased
from environments_app.authorization.policy import Principal
from secrets_app.models import Secret, SecretVersion
from sync_app.domain.rotation_state import FOLLOWS, Slot, Step, slot_of
from sync_app.errors import LeaseLost, LoginRefused, NotYetAccepted, TargetUnreachable
from sync_app.jobs.leases import LEASE, database_now
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.policies.credentials import OpenedPolicy, open_policy, require_may_open
from sync_app.rotators.base import Fence, LoginAnswer, Rotator

# Shorter than the lease: an act on the other system ends before another worker can claim the rotation.
FENCE_SECONDS: Final = 20
# Longer than any wait between two attempts. What lies further ahead was written before a clock was put back.
LONGEST_WAIT: Final = timedelta(minutes=30)
_LOST: Final = "another worker carries this rotation on, or an operator decided about it"
_RELATED: Final = ("policy__environment", "policy__secret__environment")


def claimable(now: datetime) -> Q:
    """Return the condition on rotations that no worker holds and on which work may continue now."""
    due = Q(not_before__isnull=True) | Q(not_before__lte=now) | Q(not_before__gt=now + LONGEST_WAIT)
    due &= ~Q(step=Step.GRACE) | Q(grace_until__lte=now) | Q(cut=True)
    # The lock of a policy lets one work; who waits is let in by the schedule, or ends.
    return Q(slot=Slot.WORKING, stopped_at__isnull=True) & unleased(now, LEASE) & due


def claim(rotation_id: int, *, owner: str) -> "RotationLease | None":
    """Take a rotation that is free; None if there is nothing to take. Of any number who try, one gets it."""
    now = database_now()
    rotation = claim_row(
        Rotation.objects.select_related(*_RELATED),
        rotation_id,
        claimable(now),
        lease_owner=owner,
        lease_until=now + LEASE,
        not_before=None,
        epoch=F("epoch") + 1,
        attempts=F("attempts") + 1,
    )
    return RotationLease(rotation) if rotation and rotation.lease_owner == owner else None


class RotationLease:
    """One worker's hold on one rotation; `rotation` is the row as this worker left it."""

    def __init__(self, rotation: Rotation) -> None:
        self.rotation = rotation
        self._owner = rotation.lease_owner

    def renew(self) -> None:
        """Hold the lease for its whole length from now on. Raises LeaseLost."""
        self._update(lease_until=database_now() + LEASE)

    def create_fence(self) -> Fence:
        """Return what lets an act on the other system pass; renews the lease. Raises LeaseLost."""
        self.renew()
        return Fence(
            run=self.rotation.uuid, epoch=self.rotation.epoch, seconds=FENCE_SECONDS, is_held=self._is_held
        )

    def reload(self) -> None:
        """Take the stored row, genuine or not, after a transaction was rolled back. Raises LeaseLost."""
        stored = Rotation.objects.select_related(*_RELATED).get(pk=self.rotation.pk)
        if (stored.epoch, stored.lease_owner) != (self.rotation.epoch, self._owner):
            raise LeaseLost(_LOST)
        self.rotation = stored

    def advance(self, step: Step, **changes: Any) -> None:
        """Continue to a step, which is the intent of the next act. Raises LeaseLost.

        In a transaction it comes first: its row stays locked until the end.
        """
        if step not in FOLLOWS[Step(self.rotation.step)]:
            raise AssertionError(f"{step} does not follow {self.rotation.step}")
        now = database_now()
        ended: dict[str, Any] = {}
        if slot_of(step) is None:
            ended = {"finished_at": now, "lease_owner": "", "lease_until": None}
        self._change(
            step=step,
            slot=slot_of(step),
            attempts=1,
            problem="",
            **(ended or {"lease_until": now + LEASE}),
            **changes,
        )

    def requeue(self, *, not_before: datetime | None, problem: str = "", waiting: bool = False) -> None:
        changes = {"attempts": 0} if waiting else {}
        self._update(
            lease_owner="", lease_until=None, not_before=not_before, problem=problem[:500], **changes
        )

    def stop(self, problem: str) -> None:
        """Stop it in its present step, until an operator decides. Raises LeaseLost."""
        now = database_now()
        self._update(lease_owner="", lease_until=None, stopped_at=now, problem=problem[:500])

    def _is_held(self) -> bool:
        until = self._rows().values_list("lease_until", flat=True).first()
        return until is not None and until - database_now() >= timedelta(seconds=FENCE_SECONDS)

    def _change(self, **changes: Any) -> None:
        before = {name: getattr(self.rotation, name) for name in changes}
        rows = self._rows()
        for name, value in changes.items():
            setattr(self.rotation, name, value)
        self.rotation.seal_row()
        if not rows.update(**changes, row_mac=self.rotation.row_mac):
            for name, value in before.items():
                setattr(self.rotation, name, value)
            raise LeaseLost(_LOST)

    def _update(self, **changes: Any) -> None:
        """Change what the MAC does not cover, and leave the MAC as it is."""
        if not self._rows().update(**changes):
            raise LeaseLost(_LOST)
        for name, value in changes.items():
            setattr(self.rotation, name, value)

    def _rows(self) -> QuerySet[Rotation]:
        # The owner too: a claim and the reading of its epoch are two statements.
        row = self.rotation
        return Rotation.objects.filter(
            pk=row.pk, epoch=row.epoch, lease_owner=self._owner, step=row.step, stopped_at__isnull=True
        )


# A login that succeeded this long ago, in this claim, is not tried again.
_PROVEN_SECONDS: Final = 5.0


class RotationSession:
    """One worker's work on a rotation from its claim until it waits or ends. Not for two threads."""

    def __init__(self, lease: RotationLease, *, actor: Principal) -> None:
        self.lease = lease
        self.actor = actor
        self._opened: OpenedPolicy | None = None
        self._values: dict[int, str] = {}
        # The versions of the last `open`: values of other versions must not be used, even if known.
        self.numbers: frozenset[int] = frozenset()
        self._proven: dict[int, float] = {}
        self._proven_at_replicas: dict[int, float] = {}

    @property
    def rotation(self) -> Rotation:
        return self.lease.rotation

    @property
    def policy(self) -> RotationPolicy:
        return self.rotation.policy

    @property
    def secret(self) -> Secret:
        return self.policy.secret

    def open(self, *versions: SecretVersion) -> None:
        """Make the rotator and the values of these versions, and no others, available; outside a transaction.

        Checks each time that the rows are genuine and that this installation is active. Raises as
        `open_policy`.
        """
        self.numbers = frozenset(version.number for version in versions)
        missing = [version for version in versions if version.number not in self._values]
        if self._opened is not None and not missing:
            require_may_open(self.policy)
            return
        details: dict[str, Json] = {"rotation": str(self.rotation.uuid), "step": self.rotation.step}
        self._opened = open_policy(actor=self.actor, policy=self.policy, versions=missing, details=details)
        self._values.update(self._opened.values)

    @property
    def rotator(self) -> Rotator:
        """The rotator of the policy, once it was opened."""
        if self._opened is None:
            raise AssertionError("the policy is not opened")
        return self._opened.rotator

    def value(self, number: int) -> str:
        """Return the value of a version that the last `open` named. Raises KeyError for any other."""
        if number not in self.numbers:
            raise KeyError(number)
        return self._values[number]

    def require_login(self, number: int, *, what: str, is_known: bool = False) -> None:
        """Log in with the value of a version, unless this session just did.

        With `is_known` every server has had the time to learn of it, so a refusal is final.
        Raises LoginRefused, NotYetAccepted, or TargetUnreachable: it is not known.
        """
        if not self.rotator.supports_probe or (
            number in self._proven and time.monotonic() - self._proven[number] < _PROVEN_SECONDS
        ):
            return
        probed = self.rotator.probe(self.value(number))
        if probed.answer is LoginAnswer.UNKNOWN:
            raise TargetUnreachable(probed.why or "the login was not answered")
        if probed.answer is LoginAnswer.REFUSED and self.rotator.propagation_seconds and not is_known:
            raise NotYetAccepted(f"{what} is not accepted yet: {probed.why}")
        if probed.answer is LoginAnswer.REFUSED:
            raise LoginRefused(f"{what} cannot log in: {probed.why}")
        self._proven[number] = time.monotonic()

    def require_replicas(self, number: int, *, what: str) -> None:
        """Log in with the value of a version at each replica of the policy, unless this session just did.

        Raises NotYetAccepted, or TargetUnreachable; both are tried again, and name the replica.
        """
        if time.monotonic() - self._proven_at_replicas.get(number, -_PROVEN_SECONDS) < _PROVEN_SECONDS:
            return
        for address, probed in self.rotator.probe_replicas(self.value(number)):
            # Many that are slow take longer than a lease.
            self.lease.renew()
            if probed.answer is LoginAnswer.UNKNOWN:
                raise TargetUnreachable(
                    f"the replica {address}: {probed.why or 'the login was not answered'}"
                )
            if probed.answer is LoginAnswer.REFUSED:
                raise NotYetAccepted(f"{what} is not accepted yet by the replica {address}: {probed.why}")
        self._proven_at_replicas[number] = time.monotonic()
