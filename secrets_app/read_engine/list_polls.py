"""Whether what a token may read of an environment is still as its caller has it.

The state (`state_of`) reads a row for each secret. It is kept for as long as the head of the environment's
stream stays where it was: each change of a secret appends its event in the same transaction. So a poll of an
environment in which nothing happens reads one row, whatever the number of its secrets.
"""

from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple, TypeAlias

from environments_app.authorization.policy import Principal
from environments_app.tokens.raw_tokens import EnvironmentRow
from secrets_app.queries.states import state_of

_MAX_KEPT: Final = 1_000
Heads: TypeAlias = dict[str, bytes]


class ListPoll(NamedTuple):
    """What a program asks for that has a manifest or an export: whether it would get another.

    `form` is the one that the ETag was given for.
    """

    public_id: str
    token_secret: str
    address: str
    request_id: str
    environment: str
    prefix: str
    form: str
    # The ETags that the caller has.
    known: AbstractSet[str]

    def __repr__(self) -> str:
        return "ListPoll()"


# By what it is the state of: the head at which it was found, and the state.
_kept: Final[dict[object, tuple[bytes, str]]] = {}


def known_state(poll: ListPoll, actor: Principal, environment: EnvironmentRow, head: bytes) -> str | None:
    """Return the state of what the actor may read, if it is one that the caller has; otherwise None.

    `head` was read before: a change in between moves it again.
    """
    key = (environment.uuid, actor.grants, poll.prefix, poll.form)
    found = _kept.get(key)
    if found is None or found[0] != head:
        if len(_kept) >= _MAX_KEPT:
            _kept.clear()
        found = _kept[key] = head, state_of(actor, environment, prefix=poll.prefix, form=poll.form)
    state = found[1]
    return state if state and f'"{state}"' in poll.known else None
