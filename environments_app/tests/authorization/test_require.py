from collections.abc import Callable

import pytest
from django.db import transaction

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authorization.policy import require
from environments_app.errors import Forbidden, Invisible
from environments_app.tests.cast import Cast, make_cast


def test_it_lets_pass_without_a_record(cast: Cast) -> None:
    require(
        actor=cast.principal(cast.bob), action=Action.SECRET_REVEAL, environment=cast.development, name="a"
    )
    assert not AuditEvent.objects.filter(outcome="denied").exists()


def test_who_sees_it_is_told_that_it_is_forbidden(
    cast: Cast, events: Callable[..., list[AuditEvent]]
) -> None:
    with pytest.raises(Forbidden):
        require(
            actor=cast.principal(cast.vera),
            action=Action.SECRET_REVEAL,
            environment=cast.development,
            name="a",
        )
    (event,) = events(Action.SECRET_REVEAL, outcome="denied")
    assert event.actor_name == "vera"
    assert event.object_name == "development"
    assert event.address == "192.0.2.1"
    assert event.stream == f"environment:{cast.development.uuid}"


def test_who_does_not_see_it_is_told_that_it_does_not_exist(
    cast: Cast, events: Callable[..., list[AuditEvent]]
) -> None:
    with pytest.raises(Invisible):
        require(
            actor=cast.principal(cast.charlie),
            action=Action.SECRET_REVEAL,
            environment=cast.development,
            name="a",
        )
    assert len(events(Action.SECRET_REVEAL, outcome="denied")) == 1


def test_the_installation_is_no_secret(cast: Cast) -> None:
    with pytest.raises(Forbidden):
        require(actor=cast.principal(cast.charlie), action=Action.ENVIRONMENT_CREATE, environment=None)


def test_administrators_see_but_may_not_reveal(cast: Cast) -> None:
    with pytest.raises(Forbidden):
        require(
            actor=cast.principal(cast.root),
            action=Action.SECRET_REVEAL,
            environment=cast.development,
            name="a",
        )


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_a_denial_survives_the_rollback_of_what_follows(events: Callable[..., list[AuditEvent]]) -> None:
    cast = make_cast()
    actor = cast.principal(cast.vera)

    class Failure(Exception):
        pass

    def request() -> None:
        try:
            require(actor=actor, action=Action.SECRET_UPDATE, environment=cast.development, name="a")
        except Forbidden:
            with transaction.atomic():
                cast.development.save()
                raise Failure from None

    with pytest.raises(Failure):
        request()
    assert len(events(Action.SECRET_UPDATE, outcome="denied")) == 1


@pytest.mark.django_db(transaction=True)
def test_a_denial_inside_a_transaction_is_a_mistake() -> None:
    cast = make_cast()
    actor = cast.principal(cast.vera)
    with pytest.raises(RuntimeError), transaction.atomic():
        require(actor=actor, action=Action.SECRET_UPDATE, environment=cast.development, name="a")
