"""Use cases of sinks of events: added, given another credential, tried, removed; a refused event skipped.

A worker delivers (`audit_app/sinks/delivery.py`). The credential is opened when it is sent, and only of a row
that Keeper wrote. The address is fixed: a credential that was given for one place goes nowhere else.
"""

import re
import ssl
from functools import partial
from typing import Any, Final
from uuid import uuid5

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit_app.errors import BadSink, NotSealedHere, SinkDown
from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.events.actors import Actor
from audit_app.integrity.active_installation import is_active
from audit_app.integrity.row_authentication import record_integrity_violation
from audit_app.integrity.row_state import row_digest_entry
from audit_app.interfaces import Place, Purpose, keyring
from audit_app.models import SinkState, StreamCursor, deployment_uuid
from audit_app.recording import event_store
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from audit_app.sinks.base import StoredSink
from audit_app.sinks.delivery import NOT_REFUSED, begin_events, deliver_at_once, taken
from audit_app.sinks.registry import sink_at
from environments_app.authorization.act import Shown
from environments_app.authorization.policy import Principal, require, require_confirmed
from environments_app.authorization.rows import lock_authentic
from environments_app.errors import Conflict, InvalidField, NameInUse, Tampered
from environments_app.models import EventSink
from environments_app.sessions.service import lock_actor, lock_row

_LABEL: Final = "event-sink.secret"
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_MOST_SINKS: Final = 10
_MOST_SECRET: Final = 2_000
_MOST_CA: Final = 64 * 1024


def create_sink(
    *, actor: Principal, name: str, address: str, secret: str = "", ca_certificate: str = ""
) -> EventSink:
    """Add a sink, which gets what is recorded from now on.

    Raises Forbidden, ConfirmationNeeded, InvalidField, Conflict, NameInUse.
    """
    require(actor=actor, action=Action.SINK_CHANGE, environment=None)
    require_confirmed(actor)
    if not _NAME.fullmatch(name):
        raise InvalidField("name", "Use up to 32 lowercase letters, digits and hyphens.")
    row = EventSink(name=name, address=address.strip(), ca_certificate=_required_ca(ca_certificate))
    try:
        sink_at(row.address, what="events", name=row.sink_name)
    except BadSink as error:
        raise InvalidField("address", f"{str(error).capitalize()}.") from error
    if row.address.startswith("hec") and not secret:
        raise InvalidField("credential", "Enter the token of the collector.")
    if row.address.startswith("s3") and secret and ":" not in secret:
        raise InvalidField("credential", "Enter ACCESS_KEY_ID:SECRET, or nothing to use the machine's.")
    _seal(row, secret)
    try:
        with lock_actor(actor, Action.SINK_CHANGE):
            if EventSink.objects.count() >= _MOST_SINKS:
                raise Conflict(f"There are {_MOST_SINKS} sinks already.")
            row.save(force_insert=True)
            state, _ = SinkState.objects.get_or_create(name=row.sink_name)
            begin_events(state)
            _record(actor, row, {"change": "added", "address": row.address})
    except IntegrityError as error:
        raise NameInUse(f"The name {name} is taken.") from error
    return row


def change_sink(
    *, actor: Principal, sink: EventSink, secret: str = "", ca_certificate: str | None = None
) -> EventSink:
    """Give a sink another credential, or other certificates with the credential; return it as stored.

    Raises Forbidden, ConfirmationNeeded, InvalidField or Tampered.
    """
    require(actor=actor, action=Action.SINK_CHANGE, environment=None)
    require_confirmed(actor)
    with lock_row(actor, sink, Action.SINK_CHANGE) as stored:
        changed = []
        if ca_certificate is not None and _required_ca(ca_certificate) != stored.ca_certificate:
            if stored.secret and not secret:
                raise InvalidField(
                    "credential", "Enter it again: other certificates may mean another receiver."
                )
            stored.ca_certificate = _required_ca(ca_certificate)
            changed.append("ca_certificate")
        if secret:
            _seal(stored, secret)
            changed.append("secret")
        if changed:
            stored.save(update_fields=changed)
            _record(actor, stored, {"change": "changed", "fields": [*changed]})
    return stored


def remove_sink(*, actor: Principal, sink: EventSink) -> None:
    """Remove a sink, also a forged row, and where it was. Raises Forbidden, ConfirmationNeeded, Conflict."""
    require(actor=actor, action=Action.SINK_CHANGE, environment=None)
    require_confirmed(actor)
    with lock_actor(actor, Action.SINK_CHANGE):
        _locked_state(sink.sink_name)
        SinkState.objects.filter(name=sink.sink_name).delete()
        _record(actor, sink, {"change": "removed"}, gone=True)
        sink.delete()


def try_sink(*, actor: Principal, sink: EventSink) -> Shown:
    """Record an event, give the sink what it lacks up to it, and return how that went. Goes over the network.

    Raises Forbidden, Conflict.
    """
    require(actor=actor, action=Action.SINK_TEST, environment=None)
    if not is_active():
        raise Conflict("This installation isn't active, so it sends nothing. Activate it first.")
    receipt = record(
        actor=actor, action=Action.SINK_TEST, stream=streams.SYSTEM, object=_object(sink), details={}
    )
    deliver_at_once(sink.sink_name)
    state = SinkState.objects.filter(name=sink.sink_name).first()
    if state is None:
        raise Conflict("The sink was removed.")
    cursor = state.cursors.filter(stream=streams.SYSTEM, sequence__gte=receipt.sequence)
    if cursor.exists():
        return Shown(lines=[f"The sink took this test, event {streams.SYSTEM} #{receipt.sequence}."])
    reason = state.error or "a worker is delivering at this moment, or older events go first: try again"
    return Shown(lines=[f"The sink did not take this test: {reason}"], ok=False)


def skip_event(*, actor: Principal, sink: SinkState) -> None:
    """Leave out the one event that a sink refuses, which is recorded.

    Raises Forbidden, ConfirmationNeeded, or Conflict if the sink refuses none, or another one by now.
    """
    require(actor=actor, action=Action.SINK_SKIP, environment=None)
    require_confirmed(actor)
    with transaction.atomic():
        state = _locked_state(sink.name)
        if state is None or state.refused_sequence is None:
            raise Conflict("The sink refuses no event.")
        stream, sequence = state.refused_stream, state.refused_sequence
        if (stream, sequence) != (sink.refused_stream, sink.refused_sequence):
            raise Conflict("The sink refuses another event by now. Look at it first.")
        cursor = StreamCursor.objects.filter(sink=state, stream=stream).values_list("sequence", flat=True)
        after = cursor.first() or 0
        following = event_store.links(stream, after=after, until=sequence, limit=1)
        if not following or following[0].fields.sequence != sequence:
            raise Conflict("The sink has taken that event by now.")
        taken(state, stream, sequence)
        SinkState.objects.filter(pk=state.pk).update(due_at=None, **NOT_REFUSED)
        record(
            actor=actor,
            action=Action.SINK_SKIP,
            stream=streams.SYSTEM,
            object=AuditObject("event-sink", uuid5(deployment_uuid(), state.name), state.name),
            details={"stream": stream, "sequence": sequence, "event": following[0].fields.uuid},
        )


def stored_sinks() -> list[StoredSink]:
    """Return the sinks that administrators added. One whose row was edited has no address, and so stops."""
    return [
        StoredSink(
            name=row.sink_name,
            address=row.address if row.is_authentic() else "",
            ca=row.ca_certificate,
            credential=partial(_open, row),
            exists=EventSink.objects.filter(pk=row.pk).exists,
        )
        for row in EventSink.objects.order_by("name")
    ]


def reseal_sink_secrets() -> list[str]:
    """Re-encrypt every credential under the active system key; return what could not be, and why."""
    problems = list[str]()
    for row in EventSink.objects.exclude(secret=b"").order_by("pk"):
        try:
            with lock_authentic(row) as stored:
                _seal(stored, _open(stored))
                stored.save(update_fields=["secret"])
                _record(actors.system(), stored, {"change": "resealed"})
        except (Tampered, SinkDown):
            problems.append(f"The credential of the sink {row.name} does not open: it stays as it is.")
    return problems


def _locked_state(name: str) -> SinkState | None:
    """Return the state of a sink, locked. Raises Conflict while a worker delivers."""
    state = SinkState.objects.select_for_update().filter(name=name).first()
    if state is not None and state.leased_until and state.leased_until > timezone.now():
        raise Conflict("A worker is delivering to this sink. Try again in a minute.")
    return state


def _seal(row: EventSink, secret: str) -> None:
    if len(secret) > _MOST_SECRET or not secret.isprintable():
        raise InvalidField("credential", "Enter the credential, printable text.")
    row.secret = keyring().seal(Purpose.SECOND_FACTOR, secret.encode(), place=_place(row)) if secret else b""


def _open(row: EventSink) -> str:
    if not row.secret:
        return ""
    try:
        return keyring().open(Purpose.SECOND_FACTOR, bytes(row.secret), place=_place(row)).decode()
    except NotSealedHere as error:
        record_integrity_violation(kind=row.MAC_LABEL, uuid=row.uuid, name=row.name, reason=str(error))
        raise SinkDown(f"{row.sink_name}: its credential cannot be read: enter it again") from error


def _required_ca(text: str) -> str:
    text = text.strip()
    problem = InvalidField("ca_certificate", "Enter certificates in PEM, at most 64 KB.")
    if len(text) > _MOST_CA or not text.isascii():
        raise problem
    try:
        if text:
            ssl.create_default_context(cadata=text)
    except ssl.SSLError as error:
        raise problem from error
    return text


def _place(row: EventSink) -> Place:
    return Place(label=_LABEL, row=row.uuid, owner=row.uuid)


def _object(row: EventSink) -> AuditObject:
    return AuditObject("event-sink", row.uuid, row.name)


def _record(actor: Actor, row: EventSink, details: dict[str, Any], *, gone: bool = False) -> None:
    record(
        actor=actor,
        action=Action.SINK_CHANGE,
        stream=streams.SYSTEM,
        object=_object(row),
        details={**details, **row_digest_entry(row, gone=gone)},
    )
