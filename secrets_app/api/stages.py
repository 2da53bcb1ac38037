"""`?stage=` on the read of a secret: its current, previous or pending value, or two of them at once."""

from typing import Any, Final

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, allows
from secrets_app.errors import InvalidInput
from secrets_app.models import Secret
from secrets_app.queries.lookup import require_authentic
from secrets_app.services.read import Stage, reveal, stage_number

BOTH: Final = "both"
_CHOICES: Final = [*map(str, Stage), BOTH]
STAGE: Final = OpenApiParameter(
    "stage",
    str,
    enum=_CHOICES,
    description="Which value; previous works while a grace runs. both: current and previous.",
)


def wanted_stage(request: Request) -> str:
    """Return the requested stage; empty: not in the query. Raises InvalidInput."""
    text = request.query_params.get("stage", "")
    if text and text not in _CHOICES:
        raise InvalidInput("stage", f"Choose one of {', '.join(_CHOICES)}.")
    return text


def staged(*, actor: Principal, secret: Secret, stage: str) -> dict[str, Any]:
    """Return the answer's fields of a stage besides the secret's own.

    Raises NoSuchVersion if the secret holds nothing at the stage, and what `reveal` raises.
    """
    if stage != BOTH:
        return _one(actor, secret, Stage(stage))
    found = [_one(actor, secret, Stage.CURRENT)]
    if secret.previous_number is not None:
        found.append(_one(actor, secret, Stage.PREVIOUS))
    return {"stages": found}


def _one(actor: Principal, secret: Secret, stage: Stage) -> dict[str, Any]:
    if not allows(actor, Action.SECRET_REVEAL, environment_id=secret.environment_id, name=secret.name):
        require_authentic(secret)
        return {"stage": stage, "version": stage_number(secret, stage)}
    number = stage_number(secret, stage)
    return {
        "stage": stage,
        "version": number,
        "value": reveal(actor=actor, secret=secret, number=number).value,
    }
