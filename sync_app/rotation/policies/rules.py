"""The rules of a rotation policy that its managers choose, and those between policies.

No two policies rotate one login: each would end what the other one serves.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from audit_app.events.actions import Action
from audit_app.models import Deployment
from environments_app.authorization.policy import Principal, allows
from environments_app.authorization.rows import clean_fields
from environments_app.errors import InvalidField
from secrets_app.models import Secret
from sync_app.domain.cadence import (
    MAX_SECONDS,
    MIN_INTERVAL,
    Cadence,
    Window,
    clean_cron,
    parse_time_zone,
    parse_window,
)
from sync_app.errors import RotationConflict
from sync_app.models import RotationPolicy
from sync_app.rotators.registry import ROTATORS

CHANGEABLE: Final = (
    "interval_seconds",
    "cron",
    "window",
    "time_zone",
    "grace_seconds",
    "waits_for_consumers",
)


def apply_rules(policy: RotationPolicy, rules: Mapping[str, Any]) -> list[str]:
    """Set rules on a policy and return the names of those that differ. Raises InvalidField."""
    for name in sorted(rules.keys() - set(CHANGEABLE)):
        raise InvalidField(name, "This is not a rule of a policy, or it can't be changed.")
    values = dict(rules)
    if values.get("cron"):
        values["cron"] = clean_cron(values["cron"])
    changed = [name for name, value in values.items() if getattr(policy, name) != value]
    for name in changed:
        setattr(policy, name, values[name])
    clean_fields(policy, changed)
    if policy.cron and policy.interval_seconds:
        raise InvalidField("cron", "Choose an interval or a cron schedule, not both.")
    if policy.interval_seconds and not MIN_INTERVAL <= policy.interval_seconds <= MAX_SECONDS:
        raise InvalidField("interval_seconds", f"Enter 0, or {MIN_INTERVAL} seconds to ten years.")
    if policy.grace_seconds > MAX_SECONDS:
        raise InvalidField("grace_seconds", "Enter at most ten years.")
    parse_time_zone(str(policy.time_zone))
    window_of(policy)
    return changed


def cadence_of(policy: RotationPolicy) -> Cadence:
    """Return how often a policy rotates."""
    return Cadence(
        interval_seconds=policy.interval_seconds, cron=str(policy.cron), time_zone=str(policy.time_zone)
    )


def window_of(policy: RotationPolicy) -> Window | None:
    """Return when a policy's scheduled rotations may begin; None: at any time."""
    return parse_window(str(policy.window), str(policy.time_zone))


def first_due(policy: RotationPolicy) -> datetime | None:
    """Return when a policy that was made or changed is next due, counted from its last rotation."""
    since = policy.last_rotated_at or policy.created_at
    return cadence_of(policy).next_after(since)


def publish_due(policy: RotationPolicy) -> None:
    """Write on the secret when its rotation is due, by which lists and dashboard find it."""
    waits = not policy.live or policy.suspended_at is not None
    due_at = None if waits else policy.due_at
    Secret.objects.filter(uuid=policy.secret_id).update(rotation_due_at=due_at)


def refuse_shared_logins(policy: RotationPolicy, *, actor: Principal) -> None:
    """Refuse a policy whose logins another living one rotates, in whatever environment that is.

    Call it in the transaction that stores the policy: it holds a lock until the end of it, so that of two
    who claim a login at once the second finds the first. A server that is reached by two names is two
    servers here. Raises RotationConflict.
    """
    kind = ROTATORS[policy.rotator]
    logins = kind.logins_of(policy.settings)
    if not logins:
        return
    Deployment.objects.select_for_update().get()
    others = RotationPolicy.objects.filter(rotator=policy.rotator, endpoint=policy.endpoint, live=True)
    for other in (
        others.exclude(uuid=policy.uuid).select_related("environment", "secret").defer("credentials")
    ):
        if any(mine.conflicts_with(theirs) for mine in logins for theirs in kind.logins_of(other.settings)):
            place, name = other.environment, other.secret.name
            seen = allows(actor, Action.ROTATION_VIEW, environment_id=place.pk, name=name)
            named = f"the policy of {place.name}/{name}" if seen else "another policy"
            raise RotationConflict(
                f"{named} rotates one of these logins already, and would end what "
                "this one serves: use two other logins, or remove that policy first"
            )
