"""Names hold byte for byte, whatever the database thinks of case, accents and padding."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from environments_app.tests.cast import Cast
from secrets_app.errors import InvalidName, NameTaken
from secrets_app.models import Secret
from secrets_app.queries.lookup import find_active
from secrets_app.services import read
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.every_database

# Each of these is another name than all the others.
DISTINCT = [
    "s3",
    "S3",
    "s3.",
    "s3_",
    "s3-",
    "s3/a",
    "s3/A",
    "S3/a",
    "s3+",
    "s3=",
    "s3@",
    "a.b",
    "a_b",
    "a-b",
    "A_B",
    "0",
    "00",
    "1e1",
    "10",
    "true",
    "null",
]


def test_each_is_a_secret_of_its_own(cast: Cast, signed_in: Callable[[Any], Client]) -> None:
    for name in DISTINCT:
        keep(cast, name, f"value of {name}")
    alice = signed_in(cast.alice)
    for name in DISTINCT:
        assert (
            alice.get(f"/api/environments/development/secrets/{name}").json()["value"] == f"value of {name}"
        )
        with pytest.raises(NameTaken):
            keep(cast, name)
    export = alice.get("/api/environments/development/export").json()
    assert export == {name: f"value of {name}" for name in DISTINCT}


def test_lists_and_exports_are_in_the_order_of_bytes(cast: Cast, signed_in: Callable[[Any], Client]) -> None:
    for name in reversed(DISTINCT):
        keep(cast, name)
    alice = signed_in(cast.alice)
    assert [row["name"] for row in alice.get("/api/secrets").json()["results"]] == sorted(DISTINCT)
    assert list(alice.get("/api/environments/development/export").json()) == sorted(DISTINCT)


@pytest.mark.parametrize(
    "other",
    [
        "KEY",
        "Key",
        "kéy",
        "ｋey",
        "key\u0301",
        "key ",
        " key",
        "key\t",
        "key\n",
        "key\0",
        "ke\u200by",
        "кey",
        "ﬀ",
        "ß",
    ],
)
def test_no_other_spelling_finds_a_name(cast: Cast, other: str) -> None:
    keep(cast, "key")
    assert find_active(cast.development, other) is None
    assert not Secret.objects.filter(name=other).exists()
    assert not Secret.objects.filter(name__in=[other]).exists()


@pytest.mark.parametrize(
    "name",
    [
        "kéy",
        "ｋey",
        "key\u0301",
        "key ",
        " key",
        "key\t",
        "key\n",
        "key\0",
        "ke\u200by",
        "кey",
        "a\u2215b",
        "a\\b",
        "a:b",
        "a b",
        "🔑",
    ],
)
def test_letters_of_other_alphabets_and_blanks_are_refused(cast: Cast, name: str) -> None:
    with pytest.raises(InvalidName):
        keep(cast, name)
    assert not Secret.objects.exists()


def test_the_longest_name_is_kept_whole(cast: Cast) -> None:
    long = "n" * 511
    for end in "ab":
        keep(cast, long + end, end)
    alice = cast.principal(cast.alice)
    values = {
        item.name[-1]: item.value
        for item in read.reveal_environment(actor=alice, environment=cast.development)
    }
    assert values == {"a": "a", "b": "b"}
    with pytest.raises(InvalidName):
        keep(cast, "n" * 513)


def test_the_same_name_lives_once_in_each_environment(cast: Cast) -> None:
    keep(cast, "key", "here")
    keep(cast, "key", "there", environment=cast.production)
    assert Secret.objects.filter(name="key").count() == 2
