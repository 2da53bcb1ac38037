"""Passphrases: words drawn evenly from our own list, for what a person has to remember or type."""

import functools
import importlib.resources
import math
import secrets

from secrets_app.types.generators.options import Generated, Generator, Option
from secrets_app.types.registry import SecretType


@functools.cache
def words() -> tuple[str, ...]:
    """Return the word list: short English words in lower case, each once."""
    text = importlib.resources.files(__package__).joinpath("words.txt").read_text(encoding="ascii")
    return tuple(text.split())


def entropy_bits(count: int, *, with_number: bool) -> int:
    """Return the whole bits of entropy of `count` words, and of a digit appended to one of them."""
    return math.floor(count * math.log2(len(words())) + (math.log2(10 * count) if with_number else 0))


def make(*, word_count: int, separator: str, capitalise: bool, with_number: bool) -> Generated:
    """Return a passphrase of `word_count` words, each drawn independently."""
    chosen = [secrets.choice(words()) for _ in range(word_count)]
    if capitalise:
        chosen = [word.capitalize() for word in chosen]
    if with_number:
        position = secrets.randbelow(word_count)
        chosen[position] += str(secrets.randbelow(10))
    bits = entropy_bits(word_count, with_number=with_number)
    return Generated(separator.join(chosen), SecretType.PASSWORD, None, bits)


PASSPHRASE = Generator(
    kind="passphrase",
    label="Passphrase",
    secret_type=SecretType.PASSWORD,
    make=make,
    options=(
        Option(
            name="word_count",
            label="Words",
            kind="integer",
            default=7,
            minimum=5,
            maximum=24,
            help="Each word adds 11.6 bits of entropy: five make 58, seven 81, twelve 139.",
        ),
        Option(name="separator", label="Separator", kind="choice", default="-", choices=("-", "_", ".", " ")),
        Option(name="capitalise", label="Capitalize words", kind="boolean", default=False),
        Option(
            name="with_number",
            label="Add a digit",
            kind="boolean",
            default=False,
            help="Placed after one of the words.",
        ),
    ),
)
