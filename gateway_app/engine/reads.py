"""Grants and records reads by tokens, any number in one transaction, and answers polls of a state.

A grant is a receipt and a value that is still sealed; a caller that has the current value is granted
nothing more, and no read is recorded. What cannot be granted at once (a refusal, an absent or edited row)
is left to the general path, which decides, answers and records.

A poll says whether what a token may read of an environment is still as its caller has it. The state
(`state_of`) reads a row for each secret. It holds for as long as the head of the environment's stream stays
where it was: each change of a secret appends its event in the same transaction. So a poll of an environment
in which nothing happens reads one row, whatever the number of its secrets.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from audit_app.events.actions import Action
from audit_app.events.actors import Actor
from audit_app.events.streams import environment_stream
from audit_app.interfaces import keyring
from audit_app.recording import event_store
from audit_app.recording.drafts import EventDraft, Receipt, stream_and_object
from audit_app.recording.recorder import commit_records
from core.canonical_json import Json
from core.db.statements import rows_of_each, takes_together
from environments_app.authorization.policy import Principal, allows
from environments_app.errors import BadToken
from environments_app.tokens import authentication
from environments_app.tokens.authentication import EnvironmentRow, TokenRow, verify_row
from secrets_app import envelope as envelope_format
from secrets_app.keys import data_keys
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models.secret import version_context
from secrets_app.queries import last_asked
from secrets_app.queries.states import is_known, state_of
from secrets_app.rows import raw_secrets
from secrets_app.rows.raw_secrets import SecretRow, StoredRow

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


class ReadRequest(NamedTuple):
    """What a program asks for: a secret by its id, or by the names of environment and secret.

    Without an environment the name is one of the token's own.
    """

    public_id: str
    # None if a session of the token has proved itself.
    token_secret: str | None
    address: str
    request_id: str
    secret_id: int = 0
    environment: str = ""
    name: str = ""
    # The ETags that the caller has, or "*".
    known: AbstractSet[str] = frozenset()
    # What the event records besides the version, such as the protocol.
    details: Mapping[str, Json] = MappingProxyType({})

    def __repr__(self) -> str:
        return "ReadRequest()"


class RecordedRead(NamedTuple):
    """A read that was granted and recorded; `open` gives the value."""

    request: ReadRequest
    secret: SecretRow
    actor: Actor
    receipt: Receipt

    @property
    def etag(self) -> str:
        return self.secret.etag

    @property
    def draft(self) -> EventDraft:
        return _draft(self.actor, self.secret, self.request.details)

    @property
    def value(self) -> Sealed:
        """The value, sealed and bound to its row."""
        secret = self.secret
        context = version_context(
            version=secret.version,
            secret=secret.uuid,
            number=secret.current_number,
            environment=secret.environment.uuid,
            guarded=bool(secret.guarded or secret.decoy),
        )
        return Sealed(secret.envelope, context)

    def open(self) -> str | None:
        """Return the value; None if its data key is not open in this process, or of another environment.

        Raises EnvelopeError if what is stored was tampered with: record that.
        """
        key = data_keys.cache().held(envelope_format.data_key_id(self.secret.envelope))
        if key is None or key.scope != self.secret.environment.uuid:
            return None
        return self.value.open_by(self.receipt, key.plain).decode()

    def __repr__(self) -> str:
        return "RecordedRead()"


class Unchanged(NamedTuple):
    """A read by a caller that has what it would get: no value leaves, and no read is recorded."""

    etag: str


# What is asked of the engine.
Request: TypeAlias = ReadRequest | ListPoll
# What a request got; None is for the general path.
Served: TypeAlias = RecordedRead | Unchanged | None


class _Granted(NamedTuple):
    request: ReadRequest
    secret: SecretRow
    actor: Principal


# The streams of tokens by their public ids, as they last were: what is asked along, never what is trusted.
_streams: dict[str, str] = {}
_MAX_EXPECTED: Final = 10_000

Serve: TypeAlias = Callable[[Sequence[Request]], list[Served]]


def serve(requests: Sequence[Request]) -> list[Served]:
    """Grant and record reads in one transaction; None for each that the general path has to decide.

    Values of what is returned may be opened: the events are committed. Raises what the database or the
    recording raises; then none is recorded, unless the answer to the commit alone was lost.
    """
    if not keyring().is_at_hand:
        return [None] * len(requests)
    rows = _rows(requests)
    granted = [_grant(request, rows) for request in requests]
    drafts = [
        _draft(each.actor, each.secret, each.request.details)
        for each in granted
        if isinstance(each, _Granted)
    ]
    receipts = iter(commit_records(drafts, seen=rows.heads))
    return [RecordedRead(*each, next(receipts)) if isinstance(each, _Granted) else each for each in granted]


class _Rows(NamedTuple):
    """What decides a batch: tokens that proved themselves by public ids, secrets, and heads of streams."""

    tokens: Mapping[str, TokenRow]
    secrets: Mapping[raw_secrets.Key, StoredRow]
    heads: Mapping[str, event_store.Head]


def _rows(requests: Sequence[Request]) -> _Rows:
    publics = {request.public_id for request in requests}
    queries: list[tuple[str, Sequence[Any]]] = [(authentication.statement(len(publics)), [*publics])]
    queries += _queries([request for request in requests if isinstance(request, ReadRequest)])
    expected = {_streams[each] for each in publics & _streams.keys()} if takes_together() else set()
    if expected:
        queries.append(event_store.heads_to_see(expected))
    stored, *found = rows_of_each(queries)
    heads = event_store.heads_of(found.pop()) if expected else {}
    tokens = {token.public_id: token for token in filter(None, map(authentication.proven, stored))}
    _expect(tokens)
    polled = {request.public_id for request in requests if isinstance(request, ListPoll)} & tokens.keys()
    if missing := {_streams[public_id] for public_id in polled} - heads.keys():
        heads |= event_store.heads_of(*rows_of_each([event_store.heads_to_see(missing)]))
    return _Rows(tokens, raw_secrets.keyed(found), heads)


def _expect(tokens: Mapping[str, TokenRow]) -> None:
    """Note where the events of tokens go, for the next batch to ask for these heads along with the rest."""
    if len(_streams) > _MAX_EXPECTED:
        _streams.clear()
    for public_id, token in tokens.items():
        _streams[public_id] = environment_stream(token.environment.uuid)


def _queries(requests: Sequence[ReadRequest]) -> list[tuple[str, list[Any]]]:
    queries: list[tuple[str, list[Any]]] = []
    ids = {request.secret_id for request in requests if request.secret_id}
    named: dict[str, set[str]] = {}
    own: dict[str, set[str]] = {}
    for request in requests:
        if request.environment:
            named.setdefault(request.environment, set()).add(request.name)
        elif not request.secret_id:
            own.setdefault(request.public_id, set()).add(request.name)
    if ids:
        queries.append((raw_secrets.by_id(len(ids)), [*ids]))
    if named:
        queries.append((raw_secrets.by_name(map(len, named.values())), _flat(named)))
    if own:
        queries.append((raw_secrets.by_own_name(map(len, own.values())), _flat(own)))
    return queries


def _flat(names: Mapping[str, AbstractSet[str]]) -> list[str]:
    return [value for place, within in names.items() for value in (place, *within)]


def _grant(request: Request, rows: _Rows) -> _Granted | Unchanged | None:
    """Return what a request may read, or that it has it; None if that is not certain."""
    token = rows.tokens.get(request.public_id)
    if token is None or request.environment not in {"", token.environment.name}:
        return None
    try:
        actor = verify_row(
            token, request.token_secret, address=request.address, request_id=request.request_id
        )
    except BadToken:
        return None
    if isinstance(request, ListPoll):
        head = rows.heads.get(environment_stream(token.environment.uuid))
        # A token that may export nothing has no state.
        state = known_state(request, actor, token.environment, head[1]) if head else None
        if state is None:
            return None
        last_asked.note(actor, environment=token.environment.uuid, prefix=request.prefix)
        return Unchanged(state)
    return _grant_value(request, actor, token, rows)


def _grant_value(
    request: ReadRequest, actor: Principal, token: TokenRow, rows: _Rows
) -> _Granted | Unchanged | None:
    row = rows.secrets.get(request.secret_id or (token.environment.pk, request.name))
    secret = raw_secrets.proven(row, token.environment) if row else None
    # The general path refuses a guarded one, and raises the alert of a decoy.
    if secret and (secret.guarded or secret.decoy):
        return None
    # Who may reveal a secret may see it.
    if secret is None or not allows(
        actor, Action.SECRET_REVEAL, environment_id=token.environment.pk, name=secret.name
    ):
        return None
    if is_known(secret.etag, request.known):
        number = secret.current_number
        last_asked.note(actor, environment=token.environment.uuid, secret=secret.uuid, number=number)
        return Unchanged(secret.etag)
    return _Granted(request, secret, actor)


def _draft(actor: Actor, secret: SecretRow, details: Mapping[str, Json]) -> EventDraft:
    return EventDraft(
        actor=actor,
        action=Action.SECRET_REVEAL,
        **stream_and_object(secret),
        details={**details, "number": secret.current_number},
        covers=frozenset({secret.version.bytes}),
    )
