"""A right that is lost while something long is under way: what was begun by it does not end by it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from audit_app.models import AuditEvent
from environments_app.environments import memberships
from environments_app.errors import Forbidden, Invisible
from environments_app.models import Membership, ServiceToken, User
from environments_app.tests.cast import Cast
from environments_app.tokens import service as tokens
from operations_app.reports import service as reports
from secrets_app.models import Secret
from secrets_app.rows.current_versions import EnvironmentValues
from secrets_app.services import bulk_create
from secrets_app.tests.kept import VALUE, keep
from secrets_app.types.registry import SecretType

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]

Revoke = Callable[[], None]


def during(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, revoke: Revoke) -> None:
    """Have a right taken away while `module.name` is at work, after it did its own."""
    genuine = getattr(module, name)

    def slowly(*arguments: Any, **options: Any) -> Any:
        result = genuine(*arguments, **options)
        result = list(result) if isinstance(result, Iterator) else result
        revoke()
        return result

    monkeypatch.setattr(module, name, slowly)


def revoking(cast: Cast, user: User) -> Revoke:
    def revoke() -> None:
        for row in Membership.objects.filter(user=user, environment=cast.development):
            memberships.revoke_membership(actor=cast.principal(cast.alice), membership=row)

    return revoke


def narrowing(cast: Cast, user: User) -> Revoke:
    def narrow() -> None:
        for row in Membership.objects.filter(user=user, environment=cast.development):
            memberships.change_membership(actor=cast.principal(cast.alice), membership=row, prefix="other")

    return narrow


@pytest.mark.parametrize("how", [revoking, narrowing])
def test_an_export_gives_nothing_to_who_lost_the_right_meanwhile(
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
    signed_in: Callable[[User], Client],
    how: Callable[[Cast, User], Revoke],
) -> None:
    for number in range(3):
        keep(cast, f"part/{number}")
    client = signed_in(cast.bob)
    path = "/api/environments/development/export"
    assert VALUE in client.get(path).content.decode()
    during(monkeypatch, EnvironmentValues, "opened_all", how(cast, cast.bob))
    answer = client.get(path)
    assert answer.status_code in {403, 404}
    assert VALUE not in answer.content.decode()
    outcomes = [event.outcome for event in AuditEvent.objects.filter(action="secret.export").order_by("id")]
    assert outcomes == ["allowed", "allowed", "denied"]


def test_nor_does_a_token_that_was_revoked_meanwhile(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, bearer: Callable[..., Client]
) -> None:
    keep(cast, "part/key")
    client = bearer("reader", cast.development)

    def revoke() -> None:
        tokens.revoke(actor=cast.principal(cast.alice), token=ServiceToken.objects.get())

    during(monkeypatch, EnvironmentValues, "opened_all", revoke)
    answer = client.get("/api/environments/development/export")
    assert answer.status_code in {403, 404}
    assert VALUE not in answer.content.decode()


def test_many_secrets_are_not_stored_by_who_lost_the_right_meanwhile(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [
        bulk_create.NewSecret(
            environment=cast.development, name=f"new/{number}", secret_type=SecretType.TEXT, value=VALUE
        )
        for number in range(3)
    ]
    during(monkeypatch, bulk_create, "_sealed", revoking(cast, cast.erin))
    with pytest.raises((Forbidden, Invisible)):
        bulk_create.create_many(actor=cast.principal(cast.erin), items=items)
    assert not Secret.objects.exists()


def test_a_report_ends_where_its_reader_loses_the_right(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_ROWS_BETWEEN_LOOKS", 2)
    Membership.objects.create(environment=cast.development, user=cast.root, role="manager")
    report = reports.make(actor=cast.principal(cast.alice), key="access")
    rows = report.rows(report.sections[0])
    next(rows)
    actor = cast.principal(cast.root)
    (row,) = Membership.objects.filter(user=cast.alice, environment=cast.development)
    memberships.revoke_membership(actor=actor, membership=row)
    with pytest.raises(Forbidden):
        list(rows)
    assert AuditEvent.objects.filter(action="report.generate", outcome="denied").exists()
    # Who may have more than before reads on.
    widened = reports.make(actor=cast.principal(cast.root), key="access")
    rows = widened.rows(widened.sections[0])
    next(rows)
    Membership.objects.create(environment=cast.production, user=cast.root, role="viewer")
    assert len(list(rows)) > 3
