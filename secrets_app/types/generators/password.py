"""Passwords: uniform over all that contain each chosen class of characters."""

import itertools
import secrets
import string
from collections.abc import Sequence

from secrets_app.errors import InvalidOption
from secrets_app.types.generators.options import Generated, Generator, Option
from secrets_app.types.registry import SecretType

AMBIGUOUS = frozenset("0O1Il|5S2Z8B")
SYMBOLS = "!#$%&()*+,-./:;<=>?@[]^_{}~"


def draw(length: int, classes: Sequence[str]) -> str:
    """Return a text of `length` characters with at least one of each class (disjoint alphabets).

    A draw that misses a class is thrown away whole. Placing one character of each class and filling up
    would be cheaper, but makes some passwords likelier than others.
    """
    alphabet = "".join(classes)
    while True:
        text = "".join(secrets.choice(alphabet) for _ in range(length))
        if all(any(character in kind for character in text) for kind in classes):
            return text


def entropy_bits(length: int, classes: Sequence[str]) -> int:
    """Return the whole bits of entropy of draw(): the logarithm of the number of texts it can return.

    Counted by inclusion and exclusion over the classes that a text misses.
    """
    total = sum(len(kind) for kind in classes)
    count: int = sum(
        (1 - number % 2 * 2) * (total - sum(len(kind) for kind in missed)) ** length
        for number in range(len(classes) + 1)
        for missed in itertools.combinations(classes, number)
    )
    return count.bit_length() - 1


def make(
    *,
    length: int,
    lowercase: bool,
    uppercase: bool,
    digits: bool,
    symbols: bool,
    symbol_set: str,
    exclude_ambiguous: bool,
) -> Generated:
    """Return a password. Raises InvalidOption if no class is chosen or one has no characters."""
    chosen = [
        ("lowercase", lowercase, string.ascii_lowercase),
        ("uppercase", uppercase, string.ascii_uppercase),
        ("digits", digits, string.digits),
        ("symbols", symbols, _checked_symbols(symbol_set) if symbols else ""),
    ]
    excluded = AMBIGUOUS if exclude_ambiguous else frozenset()
    classes = [
        "".join(character for character in alphabet if character not in excluded)
        for _name, wanted, alphabet in chosen
        if wanted
    ]
    if not classes:
        raise InvalidOption("lowercase", "Choose at least one kind of character.")
    if "" in classes:
        raise InvalidOption("symbol_set", "Allow at least one symbol that is not ambiguous.")
    return Generated(draw(length, classes), SecretType.PASSWORD, None, entropy_bits(length, classes))


def _checked_symbols(symbol_set: str) -> str:
    if set(symbol_set) - set(string.punctuation):
        raise InvalidOption(
            "symbol_set", "Symbols are ASCII punctuation: leave out letters, digits and spaces."
        )
    # Once each: a symbol given twice would come up twice as often.
    return "".join(sorted(set(symbol_set)))


PASSWORD = Generator(
    kind="password",
    label="Password",
    secret_type=SecretType.PASSWORD,
    make=make,
    options=(
        Option(name="length", label="Length", kind="integer", default=24, minimum=8, maximum=256),
        Option(name="lowercase", label="Lowercase letters", kind="boolean", default=True),
        Option(name="uppercase", label="Uppercase letters", kind="boolean", default=True),
        Option(name="digits", label="Digits", kind="boolean", default=True),
        Option(name="symbols", label="Symbols", kind="boolean", default=True),
        Option(
            name="symbol_set",
            label="Allowed symbols",
            kind="text",
            default=SYMBOLS,
            minimum=1,
            maximum=32,
            help="Limit to symbols your system accepts.",
        ),
        Option(
            name="exclude_ambiguous",
            label="Avoid ambiguous characters",
            kind="boolean",
            default=False,
            help="Leaves out characters that look alike: " + " ".join(sorted(AMBIGUOUS)) + ".",
        ),
    ),
)
