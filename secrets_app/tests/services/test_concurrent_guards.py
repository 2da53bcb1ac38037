"""What an environment demands is asked again where no other act can change it before the commit."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection

from audit_app.events.actions import Action
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record
from environments_app.authorization.policy import Principal
from environments_app.environments import service as environments
from environments_app.errors import ApprovalVoid
from environments_app.models import Environment, Membership, Role, ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens import service as tokens
from secrets_app.models import Secret, SecretVersion
from secrets_app.services import bulk_create, lifecycle, write
from secrets_app.tests.kept import keep
from secrets_app.types.registry import SecretType

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


def side_by_side(*acts: Callable[[], Any]) -> None:
    """Run acts in threads, each with a connection of its own."""

    def run(act: Callable[[], Any]) -> None:
        try:
            act()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)


def fresh(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def test_writers_of_one_environment_wait_for_each_other_and_none_fails(
    transactional_db: None, cast: Cast
) -> None:
    outcomes: Counter[str] = Counter()
    actor = cast.principal(cast.alice)

    def write_often(secret: Secret) -> None:
        for number in range(12):
            try:
                write.update(actor=actor, secret=fresh(secret), value=f"value {number}")
                outcomes["written"] += 1
            except OperationalError as error:
                outcomes[str(error.args[0])] += 1

    secrets = [keep(cast, f"payments/{number}") for number in range(3)]
    side_by_side(*(lambda secret=secret: write_often(secret) for secret in secrets))
    assert outcomes == {"written": 36}


def test_a_writer_beside_recorded_reads_does_not_fail(transactional_db: None, cast: Cast) -> None:
    secret, actor, over = keep(cast, "payments/key"), cast.principal(cast.alice), threading.Event()
    failures: list[OperationalError] = []

    def read_often() -> None:
        while not over.is_set():
            about = stream_and_object(secret)
            commit_record(actor=actor, action=Action.SECRET_REVEAL, **about, details={"number": 1})

    def write_often() -> None:
        try:
            for number in range(12):
                write.update(actor=actor, secret=fresh(secret), value=f"value {number}")
        except OperationalError as error:
            failures.append(error)
        finally:
            over.set()

    side_by_side(read_often, write_often)
    assert failures == []
    assert fresh(secret).current_number == 13


def update(actor: Principal, secret: Secret) -> None:
    write.update(actor=actor, secret=secret, value="unapproved")


def create(actor: Principal, secret: Secret) -> None:
    write.create(
        actor=actor,
        environment=secret.environment,
        name="late",
        secret_type=SecretType.TEXT,
        value="unapproved",
    )


def delete(actor: Principal, secret: Secret) -> None:
    lifecycle.delete(actor=actor, secret=secret)


def create_many(actor: Principal, secret: Secret) -> None:
    item = bulk_create.NewSecret(
        environment=secret.environment, name="late", secret_type=SecretType.TEXT, value="unapproved"
    )
    bulk_create.create_many(actor=actor, items=[item])


def issue_token(actor: Principal, secret: Secret) -> None:
    tokens.issue(actor=actor, environment=secret.environment, name="late", role="reader")


@pytest.mark.parametrize("act", [update, create, delete, create_many, issue_token])
@pytest.mark.parametrize("isolation", ["ON", "OFF"])
def test_nothing_is_stored_without_approval_once_the_environment_is_protected(
    transactional_db: None,
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[Principal, Secret], None],
    isolation: str,
) -> None:
    """The protection is recorded and not yet committed when the act begins, and committed before it ends."""
    # Who may protect needs a second manager there.
    second = Membership.objects.get(environment=cast.development, user=cast.erin)
    second.role = Role.MANAGER
    second.save()
    secret, actor = fresh(keep(cast, "payments/key")), cast.principal(cast.alice)
    place = Environment.objects.get(pk=cast.development.pk)
    recorded, waits, refused = threading.Event(), threading.Event(), []
    record = environments._record

    def slowly(*arguments: Any, **options: Any) -> None:
        record(*arguments, **options)
        recorded.set()
        waits.wait(1.5)

    monkeypatch.setattr(environments, "_record", slowly)

    def protect() -> None:
        environments.update_environment(actor=actor, environment=place, protected=True)

    def meanwhile() -> None:
        assert recorded.wait(30)
        try:
            if connection.vendor == "mysql":
                with connection.cursor() as cursor:
                    cursor.execute("SET SESSION innodb_snapshot_isolation = %s", [isolation])
            act(actor, secret)
        except (ApprovalVoid, OperationalError) as error:
            refused.append(error)

    side_by_side(protect, meanwhile)
    assert Environment.objects.get(pk=place.pk).protected
    assert len(refused) == 1
    assert (SecretVersion.objects.count(), Secret.objects.count(), ServiceToken.objects.count()) == (1, 1, 0)
    assert fresh(secret).live
