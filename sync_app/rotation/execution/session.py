"""What one claim of a rotation works with: the row, who asked, the rotator, and the values it has opened.

The policy's credentials and the values are opened once a claim, with one event, and again only for a version
that is missing. The version that will be served is read from the database before it is promoted: what is
stored has to be what logs in.
"""

import time
from typing import Final

from audit_app.crypto.canonical_json import Json
from environments_app.authorization.policy import Principal
from secrets_app.models import Secret, SecretVersion
from sync_app.errors import LoginRefused, NotYetAccepted, TargetUnreachable
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution.lease import RotationLease
from sync_app.rotation.policies.credentials import OpenedPolicy, open_policy, require_may_open
from sync_app.rotators.base import LoginAnswer, Rotator

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
        """The row, as this worker left it."""
        return self.lease.rotation

    @property
    def policy(self) -> RotationPolicy:
        return self.rotation.policy

    @property
    def secret(self) -> Secret:
        return self.policy.secret

    def open(self, *versions: SecretVersion) -> None:
        """Make the rotator and the values of these versions, and no others, available.

        Call it outside a transaction.
        Checks each time that the rows are genuine and that this installation is active. Raises what
        `open_policy` raises.
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

    def require_login(self, number: int, *, what: str) -> None:
        """Log in with the value of a version, unless this session just did.

        Raises LoginRefused, NotYetAccepted, or TargetUnreachable: it is not known.
        """
        if not self.rotator.supports_probe or (
            number in self._proven and time.monotonic() - self._proven[number] < _PROVEN_SECONDS
        ):
            return
        probed = self.rotator.probe(self.value(number))
        if probed.answer is LoginAnswer.UNKNOWN:
            raise TargetUnreachable(probed.why or "the login was not answered")
        if probed.answer is LoginAnswer.REFUSED and self.rotator.propagation_seconds:
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
