"""What follows departures every few seconds reads no event of a busy secret, target or trust, beside 100,000."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Max
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent, StreamHead
from audit_app.queries import usage_index
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.principals import token_principal
from environments_app.models import Departure, Trust
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens.service import issue
from environments_app.trusts.sign_in import sign_in
from secrets_app.departures import decisions, following, programs
from secrets_app.departures.ending import end_person
from secrets_app.exposure import copies_of
from secrets_app.models import Secret
from secrets_app.outlets import outlets_of
from secrets_app.services.read import reveal
from secrets_app.tests.kept import keep
from sync_app.tests.shown import make_target
from tests.database.query_plans import faults, watched
from tests.database.test_query_plans import ROWS, fill, uuid_of
from tests.database.test_trail_plans import stored

pytestmark = [pytest.mark.every_database, pytest.mark.django_db(transaction=True)]

LOG = {AuditEvent._meta.db_table}


@pytest.fixture
def busy(cast: Cast) -> tuple[Secret, Trust, Departure]:
    """Let alice leave, who knows one value and set up a target, a trust and a token, each with many events."""
    alice, issuer = cast.principal(cast.alice), Issuer()
    secret, target = keep(cast, "busy"), make_target(cast.production, "vault")
    details = {"endpoint": target.endpoint}
    record(actor=alice, action=Action.TARGET_CREATE, **stream_and_object(target), details=details)
    trust = make_trust(cast, issuer)
    token, _ = issue(actor=alice, environment=cast.development, role="reader", name="deploy")
    reveal(actor=token_principal(token), secret=secret)
    sign_in(trust_name=trust.name, jwt=issuer.sign(), address="192.0.2.7")
    departure = end_person(actor=cast.principal(cast.root), user=cast.alice)
    following.run()
    usage_index.catch_up()
    event = AuditEvent.objects.latest("id")
    first, begin = event.sequence + 1, timezone.now() - timedelta(days=29)
    busy = [(secret.uuid, "secret.reveal"), (target.uuid, "target.apply"), (trust.uuid, "trust.sign_in")]
    fill(
        event,
        uuid=uuid_of,
        sequence=lambda number: first + number,
        at=lambda number: stored(begin + timedelta(seconds=number * 25)),
        actor_kind=lambda _: "token",
        actor_uuid=lambda number: uuid_of(number % 40),
        actor_name=lambda number: f"program-{number % 40:02}",
        action=lambda number: busy[number % 3][1],
        object_uuid=lambda number: uuid_of(busy[number % 3][0].int),
        object_kind=lambda _: "secret",
        object_name=lambda _: "busy",
        outcome=lambda _: "allowed",
    )
    newest = AuditEvent.objects.filter(stream=event.stream).aggregate(Max("sequence"))["sequence__max"]
    StreamHead.objects.filter(stream=event.stream).update(sequence=newest)
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE TABLE {', '.join(sorted(LOG))}")
            cursor.fetchall()
    row = Departure.objects.select_related("user").get(pk=departure.pk)
    row.at = timezone.now() - timedelta(minutes=3)
    row.counted_at = row.settled_at = timezone.now()
    row.save()
    return secret, trust, row


def test_what_follows_a_departure_reads_no_busy_object(
    cast: Cast, busy: tuple[Secret, Trust, Departure]
) -> None:
    secret, trust, departure = busy
    assert AuditEvent.objects.count() > ROWS
    root = cast.principal(cast.root)
    acts: dict[str, Callable[[], Any]] = {
        "what a worker does": following.run,
        "where copies went": lambda: list(copies_of({secret.uuid: [1]})),
        "what was copied since": lambda: list(
            copies_of({secret.uuid: [1]}, since=timezone.now() - timedelta(minutes=2))
        ),
        "what they set up": lambda: outlets_of([cast.alice, cast.root], CustodyGraph()),
        "what is decided": lambda: decisions.keep_outlet(
            actor=root, departure=departure, uuid=trust.uuid, reason="of the team"
        ),
    }
    found: dict[str, str] = {}
    for name, act in acts.items():
        with watched() as statements:
            act()
        assert statements, name
        found |= {f"{name}: {table}": text for table, text in faults(statements, LOG).items()}
    assert not found, "\n\n".join(f"{name}\n{text}" for name, text in found.items())


def test_what_programs_read_by_a_trust_reads_the_last_sign_ins(
    cast: Cast, busy: tuple[Secret, Trust, Departure]
) -> None:
    outlets = outlets_of([cast.alice], CustodyGraph())[cast.alice.uuid]
    seen = {}
    for outlet in outlets:
        if outlet.reads_since:
            with watched() as statements:
                seen[outlet.name] = programs.reads_of(outlet, outlet.reads_since)
            assert not faults(statements, LOG, times=20), outlet.name
    assert [known.secret.name for known in seen["deploy"].known] == ["busy"]
    assert seen["ci"].since > timezone.now() - timedelta(days=29)
