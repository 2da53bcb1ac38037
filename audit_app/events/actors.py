"""Who acts: the frozen identity that every event names."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

NIL = UUID(int=0)


class ActorKind(StrEnum):
    """The kinds of actor that an event can name."""

    USER = "user"
    TOKEN = "token"  # noqa: S105 - the word, not a credential
    SYSTEM = "system"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who acts, and from which address.

    `name` is the name at the time of acting; `uuid` stays when people are renamed.
    """

    kind: ActorKind
    uuid: UUID
    name: str
    address: str = ""
    request_id: str = ""
    # The client by which a person acts, such as "kpr on laptop"; empty for a session.
    via: str = ""


def system(request_id: str = "") -> Actor:
    """Return the actor of scheduled work and of Keeper itself."""
    return Actor(kind=ActorKind.SYSTEM, uuid=NIL, name="system", request_id=request_id)


def anonymous(address: str, request_id: str = "") -> Actor:
    """Return the actor of an unauthenticated request."""
    return Actor(kind=ActorKind.ANONYMOUS, uuid=NIL, name="anonymous", address=address, request_id=request_id)
