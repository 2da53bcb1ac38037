"""Which values a rotator of a database takes, and how it writes the next one."""

import json
from typing import Any

import pytest

from sync_app.errors import ValueUnusable
from sync_app.rotators.credential_json import DatabaseCredential, parse_credential, replace_fields

ENGINES = frozenset({"mysql", "mariadb"})
FIELDS = {"engine": "mysql", "username": "app_a", "password": "canary"}


def parsed(**changes: Any) -> DatabaseCredential:
    return parse_credential(json.dumps(FIELDS | changes), engines=ENGINES)


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_each_engine_of_the_rotator_is_taken(engine: str) -> None:
    assert parsed(engine=engine).username == "app_a"


def test_a_value_without_an_engine_or_a_database_is_taken() -> None:
    fields = json.dumps({name: text for name, text in FIELDS.items() if name != "engine"})
    found = parse_credential(fields, engines=ENGINES)
    assert (found.password, found.dbname) == ("canary", "")
    assert parsed(dbname="shop").dbname == "shop"
    assert parsed(dbname=None).dbname == ""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"engine": "postgres"}, "engine is not mariadb or mysql"),
        ({"engine": None}, "engine is not"),
        ({"username": ""}, "field username"),
        ({"username": 7}, "field username"),
        ({"password": ""}, "field password"),
        ({"password": ["canary"]}, "field password"),
        ({"password": "can\0ary"}, "field password"),
        ({"dbname": 7}, "field dbname"),
        ({"dbname": "shop\0"}, "field dbname"),
    ],
)
def test_a_value_that_is_no_credential_of_it_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueUnusable, match=told) as caught:
        parsed(**changes)
    assert "canary" not in str(caught.value)


def test_a_value_keeps_its_other_fields_their_order_and_its_characters() -> None:
    value = '{"z": "schlüssel 鍵", "username": "app_a", "port": 3306}'
    assert (
        replace_fields(value, username="app_b") == '{"z": "schlüssel 鍵", "username": "app_b", "port": 3306}'
    )


def test_every_other_character_of_a_value_stays() -> None:
    value = (
        ' {"n": [0.12345678901234567890123, 1e-400, 1E5, -0],\n\t"username" : "app_a" ,"password":"a\\"}",'
        ' "m": {"username": "inner"}, "x": "\\u00e9\\/", "user\\u006eame": "app_a", "p": 1.10 }\n'
    )
    assert replace_fields(value, username="app_b", password='n"}') == (
        ' {"n": [0.12345678901234567890123, 1e-400, 1E5, -0],\n\t"username" : "app_b" ,"password":"n\\"}",'
        ' "m": {"username": "inner"}, "x": "\\u00e9\\/", "user\\u006eame": "app_b", "p": 1.10 }\n'
    )


@pytest.mark.parametrize(
    ("value", "changed"),
    [("{ }", '{ "a": "é"}'), ('{"n": 1.0 }', '{"n": 1.0, "a": "é" }'), ('{"a": 1.0}', '{"a": "é"}')],
)
def test_a_field_that_is_missing_is_added_at_the_end(value: str, changed: str) -> None:
    assert replace_fields(value, a="é") == changed
