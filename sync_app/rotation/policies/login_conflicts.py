"""Sees that no two policies rotate one login: each would end what the other one serves."""

from audit_app.events.actions import Action
from audit_app.models import Deployment
from environments_app.authorization.policy import Principal, allows
from sync_app.errors import RotationConflict
from sync_app.models import RotationPolicy
from sync_app.rotators.registry import ROTATORS


def refuse_shared_logins(policy: RotationPolicy, *, actor: Principal) -> None:
    """Refuse a policy whose logins another living one rotates, in whatever environment that is.

    Call it in the transaction that stores the policy: it holds a lock until the end of it, so that of two
    who claim a login at once the second finds the first. A server that is reached by two names is two
    servers here. Raises RotationConflict.
    """
    kind = ROTATORS[policy.rotator]
    wanted = kind.logins_of(policy.settings)
    if not wanted:
        return
    Deployment.objects.select_for_update().get()
    others = RotationPolicy.objects.filter(rotator=policy.rotator, endpoint=policy.endpoint, live=True)
    for other in (
        others.exclude(uuid=policy.uuid).select_related("environment", "secret").defer("credentials")
    ):
        if any(mine.conflicts_with(theirs) for mine in wanted for theirs in kind.logins_of(other.settings)):
            place, name = other.environment, other.secret.name
            seen = allows(actor, Action.ROTATION_VIEW, environment_id=place.pk, name=name)
            named = f"the policy of {place.name}/{name}" if seen else "another policy"
            raise RotationConflict(
                f"{named} rotates one of these logins already, and would end what "
                "this one serves: use two other logins, or remove that policy first"
            )
