"""The page about types and generators names all that there is."""

from pathlib import Path

import pytest

from secrets_app.types.generators.passphrase import words
from secrets_app.types.generators.registry import GENERATORS, generate
from secrets_app.types.json_document import MAX_DEPTH, MAX_NODES
from secrets_app.types.registry import MAX_VALUE_BYTES, SecretType
from secrets_app.values.names import MAX_NAME_LENGTH, MAX_TAGS

PAGE = (Path(__file__).parents[3] / "docs" / "secrets.md").read_text(encoding="utf-8")


def row(name: str) -> str:
    return next((line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")), "")


@pytest.mark.parametrize("secret_type", SecretType)
def test_it_has_a_row_for_each_type(secret_type: SecretType) -> None:
    assert row(secret_type)


@pytest.mark.parametrize("kind", GENERATORS)
def test_it_has_a_row_for_each_generator_with_its_type_options_and_bounds(kind: str) -> None:
    generator = GENERATORS[kind]
    assert f"`{generator.secret_type}`" in row(kind)
    for option in generator.options:
        assert f"`{option.name}`" in row(kind)
        # The port is described by what its 0 stands for.
        if option.kind == "integer" and option.name != "port":
            assert f"({option.default}; {option.minimum} to {option.maximum})" in row(kind)


@pytest.mark.parametrize(
    "number", [MAX_VALUE_BYTES, MAX_NODES, MAX_DEPTH, MAX_NAME_LENGTH, MAX_TAGS, len(words())]
)
def test_it_states_the_bounds(number: int) -> None:
    assert f" {number:,} " in PAGE.replace("\n", " ")


def test_it_states_the_entropy_of_the_default_password() -> None:
    assert f"about {generate('password', {}).entropy_bits}." in PAGE
