"""Rows outside the trail, as whoever has all rights in the database may edit, put back or remove them.

What each app's own tests show of its rows in detail is shown here of all: no row that proves itself is
left out, and none goes without a word.
"""

from collections.abc import Callable, Iterator

import pytest
from django.apps import apps
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.tests.trail import take_away
from environments_app.environments import memberships
from environments_app.models import Membership
from environments_app.notifications.recipients import remove_addressee
from environments_app.tests.cast import Cast
from secrets_app.key_operations.migration import state
from secrets_app.keys.models import FINALISED
from secrets_app.models import KeyMigration, Secret, Webhook
from secrets_app.services import lifecycle
from secrets_app.services.share import share_once
from secrets_app.tests.kept import change, keep
from secrets_app.webhooks import add_webhook
from sync_app.rotation.execution.consumers import acknowledge, remove_acknowledgement
from sync_app.tests.shown import make_plan, make_run, make_target

pytestmark = pytest.mark.every_database
Sql = Callable[..., None]


def found() -> list[tuple[str, str]]:
    return [(problem.kind, problem.object.split()[0]) for problem in run_checks()]


def authenticated() -> Iterator[type[AuthenticatedRow]]:
    yield from (model for model in apps.get_models() if issubclass(model, AuthenticatedRow))


def put_back(row: models.Model) -> None:
    """Insert a row as it was; its MAC comes out the same."""
    take_away(type(row)._default_manager.filter(pk=row.pk))
    row.save(force_insert=True)


def webhook_of(cast: Cast) -> Webhook:
    made, _ = add_webhook(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="chat",
        url="https://hooks.example/a",
    )
    return made


def migration_of(cast: Cast) -> KeyMigration:
    keep(cast)
    made, _ = state.begin()
    return made


MADE: dict[str, tuple[Callable[[Cast], AuthenticatedRow], str]] = {
    "webhook": (webhook_of, "endpoint"),
    "key-migration": (migration_of, "local_key_uri"),
    "sync-plan": (lambda cast: make_plan(make_target(cast.development)), "made_by_kind"),
    "sync-run": (lambda cast: make_run(make_target(cast.development)), "actor_kind"),
}


def test_every_row_that_proves_itself_is_asked_to(cast: Cast) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert found() == []
    quote = connection.ops.quote_name
    statements = [query["sql"] for query in asked.captured_queries]
    for model in authenticated():
        mac = f"{quote(model._meta.db_table)}.{quote('row_mac')}"
        assert any(mac in statement for statement in statements), f"no check asks {model._meta.label}"


@pytest.mark.parametrize("kind", MADE)
def test_an_edited_row_is_found(cast: Cast, sql: Sql, kind: str) -> None:
    make, column = MADE[kind]
    row = make(cast)
    assert found() == []
    sql(f"UPDATE {row._meta.db_table} SET {column} = 'system' WHERE id = %s", row.pk)
    assert found() == [("edited", kind)]


def test_a_removed_webhook_that_was_put_back_is_found(cast: Cast) -> None:
    webhook = webhook_of(cast)
    remove_addressee(actor=cast.principal(cast.alice), addressee=Webhook.objects.get())
    assert found() == []
    put_back(webhook)
    assert found() == [("replayed", "webhook")]


def test_an_ended_migration_that_was_opened_again_is_found(cast: Cast) -> None:
    migration = migration_of(cast)
    stored = KeyMigration.objects.get(pk=migration.pk)
    stored.open, stored.outcome = None, FINALISED
    stored.save()
    state.record_step(stored, Action.KEY_MIGRATION_FINALISE, {})
    assert found() == []
    put_back(migration)
    assert found() == [("replayed", "key-migration")]


def test_an_older_word_of_a_consumer_is_found(cast: Cast) -> None:
    """It would hold up a retirement, or the loss of it let one go on too early."""
    secret = keep(cast)
    change(cast, secret, "the next")
    bob = cast.principal(cast.bob)
    first = acknowledge(actor=bob, secret=secret, number=1)
    acknowledge(actor=bob, secret=secret, number=2)
    assert found() == []
    put_back(first)
    assert found() == [("replayed", "acknowledgement")]
    take_away(type(first).objects.all())
    assert [kind for kind, _ in found()] == ["missing"]


def test_a_word_that_was_taken_back_is_not_missed_and_does_not_come_back(cast: Cast) -> None:
    secret = keep(cast)
    bob = cast.principal(cast.bob)
    said = acknowledge(actor=bob, secret=secret, number=1)
    assert remove_acknowledgement(actor=bob, secret=secret)
    assert not remove_acknowledgement(actor=bob, secret=secret)
    assert found() == []
    put_back(said)
    assert found() == [("replayed", "acknowledgement")]


def test_a_row_that_was_removed_is_found(cast: Cast, sql: Sql) -> None:
    memberships.grant(
        actor=cast.principal(cast.alice), environment=cast.development, user=cast.charlie, role="viewer"
    )
    webhook_of(cast)
    secret = keep(cast)
    assert found() == []
    sql("DELETE FROM environments_app_membership WHERE user_id = %s", cast.charlie.pk)
    sql("DELETE FROM secrets_app_webhook")
    sql("DELETE FROM secrets_app_secretversion WHERE secret_id = %s", secret.pk)
    sql("DELETE FROM secrets_app_secret WHERE id = %s", secret.pk)
    assert sorted(found()) == [("missing", "membership"), ("missing", "secret"), ("missing", "webhook")]


def test_what_keeper_removed_is_not_missed(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    memberships.grant(actor=alice, environment=cast.development, user=cast.charlie, role="viewer")
    memberships.revoke_membership(actor=alice, membership=Membership.objects.get(user=cast.charlie))
    remove_addressee(actor=alice, addressee=webhook_of(cast))
    secret = keep(cast)
    share_once(actor=alice, secret=secret)
    lifecycle.delete(actor=alice, secret=secret)
    lifecycle.purge(actor=alice, secret=Secret.objects.select_related("environment").get(pk=secret.pk))
    assert not Secret.objects.exists()
    assert found() == []
