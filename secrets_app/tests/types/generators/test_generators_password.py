"""Passwords and passphrases: uniform, of the chosen classes, and of the entropy that is claimed."""

import itertools
import math
import string
from collections import Counter

import pytest

from secrets_app.errors import InvalidOption
from secrets_app.types.generators.passphrase import words
from secrets_app.types.generators.password import AMBIGUOUS, SYMBOLS, draw, entropy_bits
from secrets_app.types.generators.registry import GENERATORS, generate

CLASSES = {
    "lowercase": string.ascii_lowercase,
    "uppercase": string.ascii_uppercase,
    "digits": string.digits,
    "symbols": SYMBOLS,
}


def test_it_draws_each_possible_text_equally_often() -> None:
    # Of four: three characters are uniform as well where one of each class is placed and the rest filled up.
    classes = ["ab", "1"]
    possible = [
        "".join(text) for text in itertools.product("ab1", repeat=4) if set(text) & set("ab") and "1" in text
    ]
    drawn = Counter(draw(4, classes) for _ in range(20_000))
    assert set(drawn) == set(possible)
    expected = 20_000 / len(possible)
    chi_square = sum((drawn[text] - expected) ** 2 / expected for text in possible)
    # 64 texts, 63 degrees of freedom: a fair draw exceeds 180 once in three million million runs, and one that
    # fills up is at five hundred.
    assert len(possible) == 64
    assert chi_square < 180


@pytest.mark.parametrize(
    ("length", "classes"), [(3, ["ab", "1"]), (4, ["abc", "12", "!"]), (3, ["a", "1", "!"])]
)
def test_it_counts_its_entropy_exactly(length: int, classes: list[str]) -> None:
    texts = itertools.product("".join(classes), repeat=length)
    count = sum(all(set(text) & set(kind) for kind in classes) for text in texts)
    assert entropy_bits(length, classes) == math.floor(math.log2(count))


@pytest.mark.parametrize("wanted", [c for n in range(1, 5) for c in itertools.combinations(CLASSES, n)])
@pytest.mark.parametrize("length", [8, 256])
def test_it_holds_each_chosen_class_and_no_other(wanted: tuple[str, ...], length: int) -> None:
    for _ in range(5):
        value = generate("password", {"length": length} | {name: name in wanted for name in CLASSES}).value
        assert len(value) == length
        for name, alphabet in CLASSES.items():
            assert bool(set(value) & set(alphabet)) is (name in wanted)


def test_it_leaves_out_look_alikes() -> None:
    value = generate("password", {"length": 256, "exclude_ambiguous": True}).value
    assert not set(value) & AMBIGUOUS


def test_it_takes_only_the_given_symbols_and_each_once() -> None:
    # Each holds one of both at least; that all hold the same one is a chance of one in 2**63.
    found = {generate("password", {"length": 8, "symbol_set": "!!!!-"}).value for _ in range(64)}
    assert set("".join(found)) - set(string.ascii_letters + string.digits) == {"!", "-"}
    only = {"length": 8, "lowercase": False, "uppercase": False, "digits": False}
    # Were the repetitions kept, the odds of 256 to 1 would show as more entropy.
    assert generate("password", only | {"symbol_set": "!!!!-"}).entropy_bits == 8


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"lowercase": False, "uppercase": False, "digits": False, "symbols": False}, "lowercase"),
        ({"symbol_set": "|", "exclude_ambiguous": True}, "symbol_set"),
        ({"symbol_set": "abc"}, "symbol_set"),
        ({"symbol_set": "! "}, "symbol_set"),
    ],
)
def test_it_refuses_classes_without_characters(options: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        generate("password", options)
    assert caught.value.field == field


def test_its_default_password_is_strong() -> None:
    assert (generate("password", {}).entropy_bits or 0) >= 128


def test_the_word_list_is_fit_for_passphrases() -> None:
    assert len(words()) >= 2_048
    assert len(set(words())) == len(words())
    assert list(words()) == sorted(words())
    for word in words():
        assert word.isascii()
        assert word.isalpha()
        assert word.islower()
        assert 3 <= len(word) <= 8


def test_it_says_how_much_entropy_words_have() -> None:
    word_count = GENERATORS["passphrase"].options[0]
    bits = [generate("passphrase", {"word_count": count}).entropy_bits for count in (5, 7, 12)]
    assert word_count.help == (
        f"Each word adds {math.log2(len(words())):.1f} bits of entropy: five make {bits[0]}, seven {bits[1]}, "
        f"twelve {bits[2]}."
    )
    with_digit = generate("passphrase", {"word_count": 5, "with_number": True}).entropy_bits
    assert with_digit == math.floor(5 * math.log2(len(words())) + math.log2(50))


def test_it_joins_words_as_asked() -> None:
    options = {"word_count": 6, "separator": ".", "capitalise": True, "with_number": True}
    parts = generate("passphrase", options).value.split(".")
    assert len(parts) == 6
    assert all(part.rstrip(string.digits).lower() in words() for part in parts)
    assert all(part[0].isupper() for part in parts)
    assert sum(part[-1].isdigit() for part in parts) == 1
