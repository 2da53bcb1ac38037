"""The dry run: finds out whether a rotation could work now, and changes nothing anywhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal
from secrets_app.services.read import current_version_of, version_of
from sync_app.domain.rotation_state import Slot
from sync_app.errors import BackendError
from sync_app.jobs.leases import database_now
from sync_app.jobs.request_limit import limit_requests
from sync_app.models import RotationPolicy
from sync_app.rotation.execution.consumers import explain_lag, find_unacknowledged
from sync_app.rotation.lookup import require_not_removed, require_policy_access
from sync_app.rotation.policies.credentials import open_policy
from sync_app.rotation.policies.rules import window_of
from sync_app.rotators.base import LoginAnswer, Rotator


@dataclass(frozen=True)
class DryRunCheck:
    """One thing that was looked at; `fails` if a rotation would stop or wait because of it."""

    what: str
    detail: str
    fails: bool = False


@dataclass(frozen=True, kw_only=True)
class DryRunResult:
    """What a dry run found."""

    findings: tuple[DryRunCheck, ...]
    due_at: datetime | None

    @property
    def ok(self) -> bool:
        return not any(finding.fails for finding in self.findings)


def run_dry_run(*, actor: Principal, policy: RotationPolicy) -> DryRunResult:
    """Look at the server, the administrator's rights, both logins, the window, and who lags behind.

    Nothing is changed, neither in Keeper (but that it was recorded) nor on the server. Raises
    Forbidden or Invisible, RotationConflict, Tampered, KeyUnavailable, EnvelopeError.
    """
    require_policy_access(actor=actor, action=Action.ROTATION_RUN, policy=policy)
    require_not_removed(policy)
    secret = policy.secret
    versions = [current_version_of(secret)]
    if secret.previous_number is not None:
        versions.append(version_of(secret, secret.previous_number))
    opened = open_policy(actor=actor, policy=policy, versions=versions, details={"purpose": "dry run"})
    value, *before = (opened.values[version.number] for version in versions)
    with limit_requests():
        findings = list(_check_server(opened.rotator, value, before[0] if before else None))
    return DryRunResult(findings=(*findings, *_check_policy(policy)), due_at=policy.due_at)


def _check_server(rotator: Rotator, value: str, before: str | None) -> Iterator[DryRunCheck]:
    try:
        rotator.check_setup(value)
        yield DryRunCheck("rights", "the administrator may do what is needed, and the logins exist")
    except BackendError as error:
        yield DryRunCheck("rights", str(error), fails=True)
        return
    if not rotator.supports_probe:
        yield DryRunCheck("login", "this rotator cannot test a login: both values are offered")
        return
    probed = rotator.probe(value)
    accepted = probed.answer is LoginAnswer.ACCEPTED
    sentence = "the served value logs in" if accepted else f"the served value does not log in: {probed.why}"
    yield DryRunCheck("login", sentence, fails=not accepted)
    yield DryRunCheck("next login", f"{rotator.idle_login(value)} gets the next password")
    yield _check_idle_login(rotator, before)
    for address, answered in rotator.probe_replicas(value):
        fails = answered.answer is not LoginAnswer.ACCEPTED
        sentence = f"{address} does not accept the served value: {answered.why}" if fails else address
        yield DryRunCheck("replica", sentence, fails=fails)
    if accepted:
        yield from _check_differences(rotator, value)


def _check_differences(rotator: Rotator, value: str) -> Iterator[DryRunCheck]:
    try:
        differences = rotator.compare_logins(value)
    except BackendError as error:
        yield DryRunCheck("differences", f"the logins were not compared: {error}", fails=True)
        return
    for difference in differences:
        yield DryRunCheck("difference", str(difference), fails=True)
    if not differences:
        left_out = f"; not compared: {rotator.not_compared}" if rotator.not_compared else ""
        yield DryRunCheck("differences", f"both logins are alike{left_out}")


def _check_idle_login(rotator: Rotator, before: str | None) -> DryRunCheck:
    """Log in with the previous value while it is offered: else the login's password is unknown."""
    if before is None:
        return DryRunCheck("idle login", "no previous value is offered any more: its password is not known")
    probed = rotator.probe(before)
    if probed.answer is LoginAnswer.ACCEPTED:
        return DryRunCheck("idle login", "the previous value, which is still offered, logs in")
    # No rotation waits for that, but the operator should know of it.
    return DryRunCheck("idle login", f"the previous value is offered and does not log in: {probed.why}")


def _check_policy(policy: RotationPolicy) -> Iterator[DryRunCheck]:
    now = database_now()
    if policy.suspended_at is not None:
        yield DryRunCheck("policy", "the policy is suspended: resume it first", fails=True)
    working = policy.rotations.filter(slot=Slot.WORKING).first()
    if working is not None:
        sentence = f"rotation {working.pk} has not ended ({working.step}): the next one waits behind it"
        yield DryRunCheck("queue", sentence, fails=True)
    window = window_of(policy)
    if window is not None:
        inside = window.contains(now)
        opening = window.next_opening(now)
        sentence = "the window is open" if inside else f"the window opens at {opening:%Y-%m-%d %H:%M} UTC"
        yield DryRunCheck("window", sentence)
    if lag := explain_lag(policy.secret):
        yield DryRunCheck("targets", f"a rotation waits for {lag}", fails=True)
    if policy.waits_for_consumers and (slow := find_unacknowledged(policy.secret)):
        names = ", ".join(sorted({row.consumer_name for row in slow}))
        yield DryRunCheck("consumers", f"{names} did not confirm the current version")
