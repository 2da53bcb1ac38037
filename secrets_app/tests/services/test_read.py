from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import Client

from audit_app.events.actions import Action, Outcome
from audit_app.events.streams import environment_stream
from audit_app.models import AuditEvent
from audit_app.queries.search import events as search_events
from audit_app.queries.search import find
from audit_app.recording import event_store
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record, record
from environments_app.errors import Forbidden, Invisible
from environments_app.models import Membership
from environments_app.tests.cast import Cast
from secrets_app import envelope
from secrets_app.errors import EnvelopeError, KeyUnavailable, NoSuchVersion, NotCommitted, TamperedSecret
from secrets_app.models import Secret
from secrets_app.services import read
from secrets_app.tests.kept import VALUE, change, keep, send, version

Events = Callable[..., list[AuditEvent]]
SignedIn = Callable[[Any], Client]

# Every way to a value that is kept: method, address, body, and whether a page answers.
WAYS: dict[str, tuple[str, str, Any]] = {
    "by id": ("GET", "/api/secrets/{id}", None),
    "by version": ("GET", "/api/secrets/{id}/versions/1", None),
    "by name": ("GET", "/api/environments/development/secrets/payments/key", None),
    "as json": ("GET", "/api/environments/development/export?format=json", None),
    "as dotenv": ("GET", "/api/environments/development/export?format=dotenv", None),
    "as yaml": ("GET", "/api/environments/development/export?format=yaml", None),
    "compared": ("GET", "/api/environments/development/compare/production", None),
    "rolled back": ("POST", "/api/secrets/{id}/rollback", {"version": 1}),
    "copied": ("POST", "/api/secrets/{id}/copy", {"environment_id": "{production}"}),
    "moved": ("POST", "/api/secrets/{id}/move", {"environment_id": "{production}"}),
    "on its page": ("PAGE", "/secrets/{id}/reveal", {}),
    "for the clipboard": ("PAGE", "/secrets/{id}/copy", {}),
}


def go(client: Client, way: str, cast: Cast, secret: Secret) -> Any:
    method, path, body = WAYS[way]
    path = path.format(id=secret.pk)
    if method == "PAGE":
        return client.post(path, body)
    if body and "environment_id" in body:
        body = {"environment_id": cast.production.pk}
    return send(client, method, path, body)


def state() -> tuple[int, int, int]:
    """Return what a use case could have left behind."""
    return (
        Secret.objects.count(),
        sum(Secret.objects.values_list("current_number", flat=True)),
        AuditEvent.objects.count(),
    )


@pytest.mark.every_database
@pytest.mark.parametrize("way", WAYS)
def test_it_shows_nothing_that_cannot_be_recorded(
    cast: Cast, signed_in: SignedIn, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = keep(cast)
    client = signed_in(cast.alice)
    client.raise_request_exception = False
    opened: list[object] = []
    monkeypatch.setattr(envelope, "open_bound", lambda *_, **__: opened.append(1))
    before = state()

    def fail(*_: object, **__: object) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(event_store, "append", fail)
    response = go(client, way, cast, secret)
    assert response.status_code in {500, 503}
    assert VALUE not in response.content.decode()
    assert "same" not in response.content.decode()
    assert opened == []
    assert state() == before


def test_it_shows_nothing_where_the_trail_s_own_table_refuses(
    cast: Cast, signed_in: SignedIn, sql: Callable[..., None]
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("the trigger is written for SQLite")
    secret = keep(cast)
    client = signed_in(cast.alice)
    client.raise_request_exception = False
    sql("CREATE TRIGGER full BEFORE INSERT ON audit_app_auditevent BEGIN SELECT RAISE(ABORT, 'full'); END")
    for way in WAYS:
        response = go(client, way, cast, secret)
        assert response.status_code in {500, 503}, way
        assert VALUE not in response.content.decode()


@pytest.mark.every_database
@pytest.mark.parametrize("way", [way for way in WAYS if way != "compared"])
def test_the_record_is_committed_before_anything_is_opened(
    transactional_db: None, signed_in: SignedIn, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from environments_app.tests.cast import make_cast

    cast = make_cast()
    secret = keep(cast)
    before = AuditEvent.objects.count()
    seen: list[tuple[bool, int]] = []
    genuine = envelope.open_bound

    def watched(*args: Any, **options: Any) -> bytes:
        seen.append((connection.in_atomic_block, AuditEvent.objects.count()))
        return genuine(*args, **options)

    monkeypatch.setattr(envelope, "open_bound", watched)
    assert go(signed_in(cast.alice), way, cast, secret).status_code in {200, 201, 302}
    assert seen
    in_transaction, events = seen[0]
    assert (in_transaction, events > before) == (False, True)


@pytest.mark.every_database
@pytest.mark.parametrize("way", [way for way in WAYS if way != "compared"])
def test_each_way_leaves_a_record_that_names_the_secret(
    cast: Cast, signed_in: SignedIn, way: str, events: Events
) -> None:
    secret = keep(cast)
    before = AuditEvent.objects.count()
    go(signed_in(cast.alice), way, cast, secret)
    reads = {"secret.reveal", "secret.export", "secret.copy", "secret.move"}
    found = [
        event
        for event in search_events(viewer=cast.principal(cast.alice), object_uuid=secret.uuid)
        if event.action in reads and event.outcome == Outcome.ALLOWED
    ]
    assert len(found) == 1
    assert AuditEvent.objects.count() > before
    assert (found[0].actor_name, found[0].stream) == ("alice", environment_stream(cast.development.uuid))
    assert VALUE not in found[0].details


@pytest.mark.every_database
def test_a_failed_opening_adds_a_second_event(cast: Cast, sql: Callable[..., None], events: Events) -> None:
    secret = keep(cast)
    sql("UPDATE secrets_app_secretversion SET value = %s", b"KPR")
    with pytest.raises(EnvelopeError):
        read.reveal(actor=cast.principal(cast.alice), secret=secret)
    allowed, failed = events(Action.SECRET_REVEAL)
    assert (allowed.outcome, failed.outcome) == ("allowed", "failed")
    assert '"reason":"Malformed"' in failed.details
    assert failed.sequence == allowed.sequence + 1


def test_a_key_that_is_away_adds_a_second_event(
    cast: Cast, events: Events, monkeypatch: pytest.MonkeyPatch, signed_in: SignedIn
) -> None:
    secret = keep(cast)

    def away(*_: object, **__: object) -> None:
        raise KeyUnavailable("throttled", permanent=False)

    monkeypatch.setattr("secrets_app.keys.encrypted_field.plain_key", away)
    response = signed_in(cast.alice).get(f"/api/secrets/{secret.pk}")
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert [event.outcome for event in events(Action.SECRET_REVEAL)] == ["allowed", "failed"]


# --- Receipts ------------------------------------------------------------------------------------


def receipt_for(cast: Cast, secret: Secret, *covered: Any, committed: bool = True) -> Any:
    options: dict[str, Any] = {
        "actor": cast.principal(cast.alice),
        "action": Action.SECRET_REVEAL,
        "stream": environment_stream(cast.development.uuid),
        "object": AuditObject("secret", secret.uuid, secret.name),
        "covers": frozenset(row.uuid.bytes for row in covered),
    }
    return commit_record(**options) if committed else record(**options)


@pytest.mark.every_database
def test_the_receipt_of_one_version_opens_no_other(cast: Cast) -> None:
    secret = change(cast, keep(cast), "the second value")
    other = keep(cast, "another")
    receipt = receipt_for(cast, secret, version(secret, 1))
    assert version(secret, 1).value.open(receipt) == VALUE.encode()
    for foreign in (version(secret, 2), version(other)):
        with pytest.raises(NotCommitted):
            foreign.value.open(receipt)


@pytest.mark.every_database
def test_the_receipt_of_a_record_that_may_be_rolled_back_opens_nothing(cast: Cast) -> None:
    secret = keep(cast)
    receipt = receipt_for(cast, secret, version(secret), committed=False)
    with pytest.raises(NotCommitted):
        version(secret).value.open(receipt)


def test_an_envelope_from_another_row_does_not_open_with_that_row_s_receipt(cast: Cast) -> None:
    secret, other = keep(cast), keep(cast, "another", "another value")
    borrowed = version(other).value.with_context(version(secret).sealing_context())
    with pytest.raises(EnvelopeError):
        borrowed.open(receipt_for(cast, secret, version(secret)))


# --- Who may read --------------------------------------------------------------------------------


@pytest.mark.every_database
@pytest.mark.parametrize(
    ("name", "refusal"),
    [("vera", Forbidden), ("root", Forbidden), ("charlie", Invisible)],
)
def test_who_may_not_reveal_is_refused_on_the_record(
    cast: Cast, name: str, refusal: type[Exception], events: Events
) -> None:
    secret = keep(cast)
    actor = cast.principal(getattr(cast, name))
    with pytest.raises(refusal):
        read.reveal(actor=actor, secret=secret)
    with pytest.raises(refusal):
        read.reveal_environment(actor=actor, environment=cast.development)
    (denied,) = events(Action.SECRET_REVEAL)
    assert (denied.outcome, denied.actor_name, denied.object_uuid) == ("denied", name, secret.uuid)
    assert [event.outcome for event in events(Action.SECRET_EXPORT)] == ["denied"]


def test_a_version_that_never_was_is_not_revealed(cast: Cast) -> None:
    with pytest.raises(NoSuchVersion):
        read.reveal(actor=cast.principal(cast.alice), secret=keep(cast), number=2)


def test_a_forged_row_is_not_revealed(cast: Cast) -> None:
    secret = keep(cast)
    secret.name = "forged"
    with pytest.raises(TamperedSecret):
        read.reveal(actor=cast.principal(cast.alice), secret=secret)


def test_revealed_values_have_no_repr(cast: Cast) -> None:
    revealed = read.reveal(actor=cast.principal(cast.alice), secret=keep(cast))
    assert VALUE not in repr(revealed)
    assert revealed.value == VALUE
    assert revealed.secret.name == "payments/key"


# --- Environments --------------------------------------------------------------------------------


@pytest.mark.every_database
def test_an_export_is_one_event_that_each_name_finds(cast: Cast, events: Events) -> None:
    for name in ("a", "b/c", "b/d"):
        keep(cast, name, f"value of {name}")
    keep(cast, "elsewhere", environment=cast.production)
    alice = cast.principal(cast.alice)
    values = {
        item.name: item.value for item in read.reveal_environment(actor=alice, environment=cast.development)
    }
    assert values == {"a": "value of a", "b/c": "value of b/c", "b/d": "value of b/d"}
    (event,) = events(Action.SECRET_EXPORT)
    for name in values:
        found = find(viewer=alice, object_name=name, action=Action.SECRET_EXPORT).events
        assert [item.pk for item in found] == [event.pk]
    assert not find(viewer=alice, object_name="elsewhere", action=Action.SECRET_EXPORT).events.exists()


@pytest.mark.every_database
def test_a_prefix_is_of_whole_segments(cast: Cast) -> None:
    for name in ("pay", "pay/a", "pay/a/b", "pay-out", "payments", "pay0", "PAY/a", "pa"):
        keep(cast, name)
    alice = cast.principal(cast.alice)

    def names(prefix: str) -> list[str]:
        revealed = read.reveal_environment(actor=alice, environment=cast.development, prefix=prefix)
        return [item.name for item in revealed]

    assert names("pay") == ["pay", "pay/a", "pay/a/b"]
    assert names("pay/a") == ["pay/a", "pay/a/b"]
    assert names("nothing") == []


@pytest.mark.every_database
def test_who_was_given_a_prefix_reads_that_part(cast: Cast) -> None:
    keep(cast, "pay/a")
    keep(cast, "pay-out")
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="reader", prefix="pay")
    charlie = cast.principal(cast.charlie)
    revealed = read.reveal_environment(actor=charlie, environment=cast.development)
    assert [item.name for item in revealed] == ["pay/a"]
    with pytest.raises(Invisible):
        read.reveal_environment(actor=charlie, environment=cast.development, prefix="pay-out")


def test_deleted_secrets_are_not_exported(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "stays")
    gone = keep(cast, "goes")
    alice = signed_in(cast.alice)
    alice.delete(f"/api/secrets/{gone.pk}")
    assert alice.get("/api/environments/development/export").json() == {"stays": VALUE}
