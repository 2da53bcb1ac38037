"""How long a client may use its own copy of an environment's values while Keeper cannot be reached."""

from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from audit_app.events.actors import ActorKind
from environments_app.authorization.policy import Principal
from environments_app.models import Environment, PersonalToken, ServiceToken

# Seconds, in an answer with values; without it a client keeps no copy, and deletes what it has.
HEADER: Final = "Keeper-Offline"


def offline_seconds(*, actor: Principal, environment: Environment) -> int:
    """Return for how long a copy may be used: as the environment allows, and not beyond the end of its token.

    0 forbids copies, as always for a request without a token.
    """
    if environment.offline_hours is None:
        return 0
    end, is_token = _end_of_token(actor)
    if not is_token:
        return 0
    allowed = timedelta(hours=environment.offline_hours)
    left = allowed if end is None else min(allowed, end - timezone.now())
    return max(int(left.total_seconds()), 0)


def _end_of_token(actor: Principal) -> tuple[datetime | None, bool]:
    """Return when the token of a request ends, and whether it came with one."""
    ends: list[datetime | None] = []
    if actor.scope is not None:
        ends = [*PersonalToken.objects.filter(uuid=actor.scope.token).values_list("expires_at", flat=True)]
    elif actor.kind is ActorKind.TOKEN:
        ends = [*ServiceToken.objects.filter(uuid=actor.uuid).values_list("expires_at", flat=True)]
    return (ends[0], True) if ends else (None, False)
