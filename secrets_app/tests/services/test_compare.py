from collections.abc import Callable

import pytest
from django.db import DatabaseError

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from audit_app.queries.search import events as search_events
from audit_app.recording import event_store
from environments_app.errors import Forbidden, Invisible
from environments_app.models import Membership
from environments_app.tests.cast import Cast
from secrets_app import envelope
from secrets_app.services.comparison import Difference, Row, compare
from secrets_app.tests.kept import VALUE, change, keep

pytestmark = pytest.mark.every_database_weekly


def rows(cast: Cast) -> list[tuple[str, Difference]]:
    found = compare(actor=cast.principal(cast.alice), left=cast.development, right=cast.production)
    return [(row.name, row.difference) for row in found]


def test_each_name_is_told_apart_in_order(cast: Cast) -> None:
    for name, left, right in (("d", VALUE, VALUE), ("c", VALUE, "x"), ("b", None, VALUE), ("a", VALUE, None)):
        for environment, value in ((cast.development, left), (cast.production, right)):
            if value:
                keep(cast, name, value, environment=environment)
    assert rows(cast) == [
        ("a", Difference.ONLY_LEFT),
        ("b", Difference.ONLY_RIGHT),
        ("c", Difference.DIFFERENT),
        ("d", Difference.SAME),
    ]


def test_the_current_versions_are_compared(cast: Cast) -> None:
    secret = keep(cast)
    keep(cast, environment=cast.production)
    change(cast, secret, "second")
    found = compare(actor=cast.principal(cast.alice), left=cast.development, right=cast.production)
    assert found == [Row(name="payments/key", difference=Difference.DIFFERENT, left_number=2, right_number=1)]


def test_nothing_is_opened_and_both_sides_record_a_read(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = keep(cast), keep(cast, environment=cast.production)
    opened: list[object] = []
    monkeypatch.setattr(envelope, "open_bound", lambda *_, **__: opened.append(1))
    rows(cast)
    assert opened == []
    alice = cast.principal(cast.alice)
    for secret in (here, there):
        found = search_events(viewer=alice, object_uuid=secret.uuid, action=Action.SECRET_COMPARE)
        assert found.count() == 1


def test_names_are_compared_byte_for_byte(cast: Cast) -> None:
    keep(cast, "s3")
    keep(cast, "S3", environment=cast.production)
    assert rows(cast) == [("S3", Difference.ONLY_RIGHT), ("s3", Difference.ONLY_LEFT)]


def test_it_takes_the_right_to_reveal_on_both_sides(
    cast: Cast, events: Callable[..., list[AuditEvent]]
) -> None:
    keep(cast)
    Membership.objects.create(environment=cast.production, user=cast.bob, role="viewer")
    for user, refusal in (
        (cast.bob, Forbidden),
        (cast.erin, Invisible),
        (cast.root, Forbidden),
        (cast.charlie, Invisible),
    ):
        for left, right in ((cast.development, cast.production), (cast.production, cast.development)):
            with pytest.raises(refusal):
                compare(actor=cast.principal(user), left=left, right=right)
    assert {event.outcome for event in events(Action.SECRET_COMPARE)} == {"denied"}


def test_without_a_record_there_is_no_answer(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(cast)

    def fail(*_: object, **__: object) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(event_store, "append", fail)
    with pytest.raises(DatabaseError):
        rows(cast)
