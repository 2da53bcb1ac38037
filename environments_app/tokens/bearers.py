"""Who bears a token, whichever kind it is: one of a program, or one of a person."""

from audit_app.events.actors import ActorKind
from environments_app.authorization.policy import Principal
from environments_app.errors import BadToken
from environments_app.models import PersonalToken, ServiceToken
from environments_app.tokens.authentication import authenticate, authenticate_session
from environments_app.tokens.personal import PREFIX, authenticate_personal, authenticate_personal_session


def bearer_of(raw: str, *, address: str, request_id: str = "") -> Principal:
    """Return whom the text of a token stands for. Raises BadToken and TooManyRequests."""
    door = authenticate_personal if raw.startswith(PREFIX) else authenticate
    return door(raw, address=address, request_id=request_id)


def session_bearer(public_id: str, *, address: str, request_id: str = "") -> Principal:
    """Return whom the token of a session that Keeper sealed stands for, as it is now. Raises BadToken."""
    try:
        return authenticate_session(public_id, address=address, request_id=request_id)
    except BadToken as error:
        if error.reason != "unknown-token":
            raise
    return authenticate_personal_session(public_id, address=address, request_id=request_id)


def token_behind(actor: Principal) -> PersonalToken | ServiceToken | None:
    """Return the token by which an actor calls, with its environment; None without one."""
    if actor.scope is not None:
        return PersonalToken.objects.select_related("environment").filter(uuid=actor.scope.token).first()
    if actor.kind is ActorKind.TOKEN:
        return ServiceToken.objects.select_related("environment").filter(uuid=actor.uuid).first()
    return None
