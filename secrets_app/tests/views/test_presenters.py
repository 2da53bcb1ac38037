"""How a revealed value is shown: as fields where it has them, else as it is, and never as an error."""

import pytest

from secrets_app.types.registry import SecretType, inspect
from secrets_app.views.presenters import value_fields


@pytest.mark.parametrize(
    ("secret_type", "value", "fields"),
    [
        (SecretType.JSON, '{"user": "a", "port": 1}', [("user", "a"), ("port", "1")]),
        (SecretType.YAML, "user: a\nports: [1, 2]\n", [("user", "a"), ("ports", "[1, 2]")]),
        (SecretType.YAML, "x: =\n", [("x", "=")]),
    ],
)
def test_it_shows_the_fields_of_an_object(secret_type: SecretType, value: str, fields: object) -> None:
    inspect(secret_type, value)
    assert value_fields(secret_type, value) == fields


@pytest.mark.parametrize(
    ("secret_type", "value"),
    [
        (SecretType.YAML, "password: hunter2\n---\nb: 2\n"),
        (SecretType.YAML, "a:\n  2020-01-01: x\n"),
        (SecretType.YAML, "- a\n- b\n"),
        (SecretType.JSON, f'{{"n": {"9" * 5000}}}'),
        (SecretType.JSON, "[1]"),
        (SecretType.TEXT, "{}"),
        (SecretType.YAML, "{broken"),
        (SecretType.JSON, "{broken"),
    ],
)
def test_what_has_no_fields_is_shown_as_it_is(secret_type: SecretType, value: str) -> None:
    assert value_fields(secret_type, value) is None
