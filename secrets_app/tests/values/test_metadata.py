"""What describes a secret: what is taken, and what is refused by the name of its field."""

import pytest

from secrets_app.errors import InvalidInput
from secrets_app.values.metadata import (
    MAX_CUSTOM,
    MAX_CUSTOM_KEY,
    MAX_CUSTOM_TEXT,
    checked_metadata,
)


def test_an_owner_has_no_spaces_around_it() -> None:
    # The filter of the list compares the whole text.
    assert checked_metadata({"owner": " team a\n"}) == {"owner": "team a"}


@pytest.mark.parametrize(
    "custom",
    [
        {"": "a"}, {"k" * (MAX_CUSTOM_KEY + 1): "a"}, {"a\nb": "a"}, {"\x1b[2J": "a"}, {"a\u200b": "a"},
        {"a": ""}, {"a": "t" * (MAX_CUSTOM_TEXT + 1)}, {"a": "b\nc"}, {"a": "\x1b[2J"}, {"a": "b\x00"},
        {f"k{number}": "a" for number in range(MAX_CUSTOM + 1)},
    ],
    ids=lambda custom: repr(custom)[:20],
)  # fmt: skip
def test_what_no_terminal_should_show_or_vault_would_refuse_describes_nothing(custom: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked_metadata({"custom_metadata": custom})
    assert refused.value.field == "custom_metadata"


def test_as_much_as_vault_takes_is_taken() -> None:
    custom = {
        f"{number:03}" + "k" * (MAX_CUSTOM_KEY - 3): "t" * MAX_CUSTOM_TEXT for number in range(MAX_CUSTOM)
    }
    assert checked_metadata({"custom_metadata": custom}) == {"custom_metadata": custom}
