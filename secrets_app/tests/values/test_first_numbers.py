"""The numbers of versions continue after a deletion, whichever way the name comes back."""

from collections.abc import Callable

import pytest

from audit_app.integrity.check_registry import run_checks
from core.db.statements import Precondition, Statement
from environments_app.tests.cast import Cast
from secrets_app.errors import StaleVersion
from secrets_app.models import Secret, SecretVersion
from secrets_app.rows import store
from secrets_app.services import bulk_create, lifecycle, transfer, write
from secrets_app.tests.kept import change, keep
from secrets_app.types.registry import SecretType

pytestmark = pytest.mark.every_database


def drop(cast: Cast, secret: Secret) -> None:
    stored = Secret.objects.select_related("environment").get(pk=secret.pk)
    lifecycle.delete(actor=cast.principal(cast.alice), secret=stored)


def bulk(cast: Cast, *names: str) -> None:
    items = [
        bulk_create.NewSecret(
            environment=cast.development, name=name, secret_type=SecretType.TEXT, value="bulk"
        )
        for name in names
    ]
    bulk_create.create_many(actor=cast.principal(cast.alice), items=items)


def copy(cast: Cast) -> None:
    source = keep(cast, "source", environment=cast.production)
    transfer.copy(actor=cast.principal(cast.alice), secret=source, environment=cast.development, name="a")


WAYS: dict[str, Callable[[Cast], object]] = {
    "create": lambda cast: keep(cast, "a"),
    "put": lambda cast: write.put(
        actor=cast.principal(cast.alice), environment=cast.development, name="a", value="put"
    ),
    "create many": lambda cast: bulk(cast, "a", "other"),
    "copy": copy,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_new_secret_of_a_deleted_name_continues_its_numbers(cast: Cast, way: str) -> None:
    drop(cast, change(cast, keep(cast, "a"), "two"))
    for first in (3, 4):
        WAYS[way](cast) if first == 3 else keep(cast, "a")
        secret = Secret.objects.get(name="a", live=True)
        versions = SecretVersion.objects.filter(secret=secret).values_list("number", flat=True)
        assert (secret.current_number, [*versions]) == (first, [first])
        assert secret.is_authentic()
        drop(cast, secret)
    assert [problem for problem in run_checks() if "version" in str(problem)] == []


def test_names_that_never_were_begin_at_one(cast: Cast) -> None:
    drop(cast, keep(cast, "a"))
    drop(cast, keep(cast, "a", environment=cast.production))
    bulk(cast, "b", "a", "c")
    numbers = Secret.objects.filter(live=True).values_list("name", "current_number")
    assert dict(numbers) == {"a": 2, "b": 1, "c": 1}


def test_a_restored_secret_gives_no_number_of_its_successor_again(cast: Cast) -> None:
    first = change(cast, keep(cast, "a"), "two")
    drop(cast, first)
    drop(cast, keep(cast, "a"))
    restored = lifecycle.restore(actor=cast.principal(cast.alice), secret=Secret.objects.get(pk=first.pk))
    assert change(cast, restored, "four").current_number == 4


def test_purged_names_begin_anew(cast: Cast) -> None:
    secret = keep(cast, "a")
    drop(cast, secret)
    lifecycle.purge(actor=cast.principal(cast.alice), secret=Secret.objects.get(pk=secret.pk))
    assert keep(cast, "a").current_number == 1


@pytest.mark.parametrize("way", ["create", "create many"])
def test_a_number_given_away_before_the_store_is_not_given_again(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    module = write if way == "create" else bulk_create
    name = "sealed_version" if way == "create" else "ordered_uuids"
    ordinary = getattr(module, name)
    acts = [lambda: drop(cast, keep(cast, "a", "of another"))]

    def then(*arguments: object, **named: object) -> object:
        if acts:
            acts.pop()()
        return ordinary(*arguments, **named)

    monkeypatch.setattr(module, name, then)
    with pytest.raises(StaleVersion):
        WAYS[way](cast)
    assert not Secret.objects.filter(name="a", live=True).exists()
    WAYS[way](cast)
    assert Secret.objects.get(name="a", live=True).current_number == 2


def test_no_row_is_left_of_what_was_refused(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Precondition(Statement("SELECT 1", []), StaleVersion("taken"))
    monkeypatch.setattr(store, "number_is_free", lambda *_: taken)
    with pytest.raises(StaleVersion):
        keep(cast, "a")
    assert not SecretVersion.objects.exists()
