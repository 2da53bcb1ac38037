"""How long a client may use its own copy of an environment's values while Keeper cannot be reached."""

from datetime import timedelta
from typing import Final

from django.utils import timezone

from environments_app.authorization.policy import Principal
from environments_app.models import Environment
from environments_app.tokens.bearers import token_behind

# Seconds, in an answer with values; without it a client keeps no copy, and deletes what it has.
HEADER: Final = "Keeper-Offline"


def offline_seconds(*, actor: Principal, environment: Environment) -> int:
    """Return for how long a copy may be used: as the environment allows, and not beyond the end of its token.

    0 forbids copies, as always for a request without a token.
    """
    if environment.offline_hours is None:
        return 0
    token = token_behind(actor)
    if token is None:
        return 0
    allowed = timedelta(hours=environment.offline_hours)
    left = min(allowed, token.expires_at - timezone.now()) if token.expires_at else allowed
    return max(int(left.total_seconds()), 0)
