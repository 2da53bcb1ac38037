"""Two requests that hinder each other in the database: one is told to try again, wherever it was asked."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client

from core.db.concurrency import is_collision
from environments_app.models import Environment, User
from environments_app.tests.cast import Cast
from environments_app.users import accounts
from secrets_app.models import Secret
from secrets_app.tests.at_once import at_once
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.every_database


@contextmanager
def the_trail_is_busy() -> Iterator[None]:
    """Have another connection hold what every change has to lock, and this one wait but shortly for it."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
            cursor.execute(f"SELECT * FROM audit_app_streamhead{lock}")
            held.set()
            over.wait(timeout=60)
        connection.close()

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(timeout=30)
    patience = (
        "PRAGMA busy_timeout = 50" if connection.vendor == "sqlite" else "SET innodb_lock_wait_timeout = 1"
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(patience)
        yield
    finally:
        over.set()
        other.join()
        connection.close()


def test_api_page_and_admin_say_try_again(
    transactional_db: None, cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    alice, root = signed_in(cast.alice), signed_in(cast.root)
    secret = {"environment_id": cast.development.pk, "name": "a", "secret_type": "TEXT", "value": "v"}
    account = {"username": "alice", "email": "a@example.com", "role": "user", "is_active": "on"}
    asked: list[Callable[[], Any]] = [
        lambda: alice.post("/api/secrets", secret, content_type="application/json"),
        lambda: alice.post("/profile/second-factor/start"),
        lambda: root.post(f"/admin/environments_app/user/{cast.alice.pk}/change/", account),
    ]
    # The heads of both streams have to be there to be held.
    keep(cast)
    accounts.create_user(actor=cast.principal(cast.root), username="other")
    alice.raise_request_exception = root.raise_request_exception = False
    for ask in asked:
        with the_trail_is_busy():
            answer = ask()
        text = answer.content.decode()
        assert (answer.status_code, answer["Retry-After"], "Try again" in text) == (503, "1", True), text
    assert Secret.objects.count() == 1
    assert User.objects.get(username="alice").email == "alice@example.com"


def test_of_two_who_wait_for_each_other_one_collides(transactional_db: None, cast: Cast) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("one writes at a time: nobody waits for each other")
    both = threading.Barrier(2)

    def lock(first: Environment, second: Environment) -> None:
        with transaction.atomic():
            Environment.objects.select_for_update().get(pk=first.pk)
            both.wait(timeout=30)
            Environment.objects.select_for_update().get(pk=second.pk)

    one, two = cast.development, cast.production
    (error,) = filter(None, at_once(lambda: lock(one, two), lambda: lock(two, one)))
    assert error.args[0] == 1213
    assert is_collision(error)


def test_a_database_that_is_away_is_no_collision(db: None) -> None:
    assert not is_collision(OperationalError(2013, "Lost connection to server during query"))
    with pytest.raises(OperationalError) as raised, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM nowhere" if connection.vendor == "sqlite" else "SELECT nothing")
    assert not is_collision(raised.value)
