"""The bounds of all values, the types without structure, and the registry."""

import contextlib
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secrets_app.errors import InvalidValue
from secrets_app.tests.refusals import refuse
from secrets_app.types.registry import INSPECTORS, MAX_VALUE_BYTES, SecretType, inspect, parse_secret_type

TEXTS = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=200
)


def test_it_has_one_inspector_a_type() -> None:
    assert set(INSPECTORS) == set(SecretType)
    assert len(SecretType) == 7


@pytest.mark.parametrize("secret_type", SecretType)
@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (None, "must be text"),
        (7, "must be text"),
        (b"hunter2", "must be text"),
        (["hunter2"], "must be text"),
        ("", "Enter a value"),
        ("x" * 65_537, "too large (max 64 KB)"),
        ("é" * 40_000, "too large (max 64 KB)"),
        ("x" * 32_000_000, "too large (max 64 KB)"),
        ("hunter2\0", "NUL"),
        ("hunter2\ud800", "surrogate"),
    ],
)
def test_it_refuses_values_out_of_bounds_whatever_the_type(
    secret_type: SecretType, value: object, hint: str
) -> None:
    refuse(secret_type, value, hint)


@pytest.mark.parametrize("value", ["x" * MAX_VALUE_BYTES, "é" * (MAX_VALUE_BYTES // 2), "x", " ", "\n"])
def test_it_takes_text_up_to_the_last_byte(value: str) -> None:
    assert inspect(SecretType.TEXT, value) == {}


@example("\n")
@example("\U0001f511")
@example("-----BEGIN PRIVATE KEY-----")
@given(TEXTS)
def test_it_tells_nothing_about_a_password_or_text(value: str) -> None:
    assert inspect(SecretType.PASSWORD, value) == {}
    assert inspect(SecretType.TEXT, value) == {}


@pytest.mark.parametrize("value", ["sk_live_x", "Bearer abc", "a/b+c==", "ключ"])
def test_it_tells_nothing_about_an_api_key(value: str) -> None:
    assert inspect(SecretType.API_KEY, value) == {}


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("hunter2\n", "begins or ends"),
        (" hunter2", "begins or ends"),
        ("hunter2\nx", "line break"),
        ("hunter2\tx", "control character"),
        ("hunter2\u2028x", "line break"),
    ],
)
def test_it_refuses_an_api_key_that_no_header_carries(value: str, hint: str) -> None:
    refuse(SecretType.API_KEY, value, hint)


@pytest.mark.parametrize("spelling", ["API_KEY", "api_key", "api-key", "Api Key", " API_KEY "])
def test_it_reads_a_type_in_any_spelling(spelling: str) -> None:
    assert parse_secret_type(spelling) is SecretType.API_KEY


@pytest.mark.parametrize("spelling", ["", "hunter2", None, 7, "APIKEY"])
def test_it_refuses_an_unknown_type(spelling: object) -> None:
    with pytest.raises(InvalidValue, match="Choose one of PASSWORD, API_KEY") as caught:
        parse_secret_type(spelling)
    assert caught.value.field == "secret_type"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("secret_type", SecretType)
@example(value="-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----")
@example(value="-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----")
@example(value="&a [*a]")
@example(value="1e999999")
@example(value="\ufeff{}")
@given(value=TEXTS)
def test_it_answers_any_text_with_facts_or_a_refusal(secret_type: SecretType, value: str) -> None:
    facts: object = {}
    # Any other exception fails the test.
    with contextlib.suppress(InvalidValue):
        facts = inspect(secret_type, value)
    assert isinstance(facts, dict)


@pytest.mark.parametrize("secret_type", [SecretType.JSON, SecretType.YAML])
@pytest.mark.parametrize("value", ["[" * 65_536, "{" * 65_536, '{"a":' * 10_000, "[{" * 32_000])
def test_it_stops_a_nesting_bomb_without_memory(secret_type: SecretType, value: str) -> None:
    tracemalloc.start()
    try:
        refuse(secret_type, value, secret_type.label)
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()
