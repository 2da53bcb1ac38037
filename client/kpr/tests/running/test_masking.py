"""Masking: a value never passes, however it is split, and everything else passes unchanged."""

import base64
import json
import random
import re
import subprocess
from urllib.parse import quote, quote_plus

import pytest
from tests.canary import encodings

from kpr.running.masking import MASK, Masker, patterns_of
from kpr.tests.conftest import CANARY, MULTILINE


def masked(values: list[str], *parts: bytes, pauses: bool = False) -> bytes:
    masker, out = Masker(values), b""
    for part in parts:
        out += masker.feed(part) + (masker.pause() if pauses else b"")
    return out + masker.end()


def test_a_value_is_masked_wherever_it_is_split() -> None:
    text = b"before " + CANARY.encode() + b" after"
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            parts = (text[:first], text[first:second], text[second:])
            assert masked([CANARY], *parts) == b"before [masked] after", parts
    single = [bytes([each]) for each in text]
    assert masked([CANARY], *single) == b"before [masked] after"
    # A program that pauses inside shows 3 bytes of it at most.
    assert masked([CANARY], *single, pauses=True) == b"before " + CANARY[:3].encode() + MASK + b" after"


def test_other_text_passes_unchanged_and_a_prompt_is_not_held() -> None:
    source = random.Random(1)
    for _ in range(300):
        text = bytes(source.choices(b"abcd", k=59)) + b"."
        parts = [text[place : place + 7] for place in range(0, 60, 7)]
        assert masked(["abcdz", "dcbaz", "aaaaz"], *parts, pauses=source.random() < 0.5) == text
    masker = Masker(["word is c4n4ry"])
    assert masker.feed(b"Your w") + masker.pause() == b"Your w"
    assert masker.feed(b"allet") + masker.pause() == b"allet"
    assert masker.feed(b"Your w") + masker.pause() == b"Your w"
    assert masker.feed(b"ord is c4n4ry") + masker.pause() == MASK


@pytest.mark.parametrize(
    "value", [CANARY, 'c4n4ry-7Qz é"<&\\ 1+1=2%~', MULTILINE], ids=["plain", "special", "lines"]
)
def test_each_common_encoding_is_masked(value: str) -> None:
    left_out = {"utf-16", "utf-16-be", "latin-1", "csv", "yaml", "unicode-escape"}
    for name, needle in encodings(value).items():
        if name not in left_out and not name.startswith("base64"):
            assert masked([value], b"x " + needle + b" y") == b"x " + MASK + b" y", name
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(4):
            # The bytes at the ends share characters with what is beside.
            text = encode(b"user"[:shift] + value.encode() + b"end")
            out = masked([value], b"x " + text + b" y")
            assert MASK in out
            assert len(out) <= len(MASK) + 20, shift
    wrapped = base64.encodebytes(value.encode() * 9)
    assert base64.b64encode(value.encode())[:16] not in masked([value * 9], wrapped)
    assert value.encode().replace(b"\n", b"\r\n") not in masked(
        [value], value.encode().replace(b"\n", b"\r\n")
    )


def test_a_line_of_a_value_is_masked_and_a_short_one_is_not() -> None:
    value = "-----BEGIN KEY-----\nfirst-line-of-it\nab\n-----END KEY-----\n"
    assert (
        masked([value], b"> -----BEGIN KEY-----\n> first-line-of-it\n> ab")
        == b"> -----BEGIN KEY-----\n> [masked]\n> ab"
    )
    assert masked([value], value.encode()) == MASK
    assert patterns_of("abc") == set()


def test_overlapping_and_nested_values_leave_nothing() -> None:
    values = ["secret-one", "one-and-two", "secret-one-longer"]
    for parts in ((b"secret-one-and-two",), (b"secret-o", b"ne-and", b"-two"), (b"secret-one", b"-and-two")):
        assert masked(values, *parts) == MASK, parts
    assert masked(values, b"secret-one-longe", b"r!") == MASK + b"!"
    assert masked(values, b"secret-one-longe", b"st") == MASK + b"-longest"
    # The end of the stream decides: the larger part of a value is not shown.
    assert masked([CANARY], CANARY[:-1].encode()) == MASK
    assert masked([CANARY], CANARY[:5].encode()) == CANARY[:5].encode()


def test_a_value_that_begins_in_the_end_of_another_leaves_nothing_wherever_a_read_ends() -> None:
    # They share 1, 2, 3, 4 and 6 bytes: fewer than 4 at the end of a read are not yet a value's.
    first = "abcdefgh-ijkl"
    for shared in (1, 2, 3, 4, 6):
        values = [first, first[-shared:] + "MNOPQRST"]
        text = b"<" + first.encode() + b"MNOPQRST>"
        for split in range(len(text) + 1):
            assert masked(values, text[:split], text[split:]) == b"<" + MASK + b">", (shared, split)
        assert masked(values, *(bytes([each]) for each in text)) == b"<" + MASK + b">", shared
        # What follows is another text after all: only the first is taken out.
        other = first.encode() + b"MNO other"
        for split in range(len(other) + 1):
            assert masked(values, other[:split], other[split:]) == MASK + b"MNO other", (shared, split)


def test_a_thousand_values_of_all_bytes_are_masked_in_a_large_stream() -> None:
    source = random.Random(2)
    values = [source.randbytes(16).hex() for _ in range(1000)]
    noise = source.randbytes(200_000)
    text = noise.join(value.encode() for value in values[:5])
    out = masked(values, *(text[place : place + 65536] for place in range(0, len(text), 65536)))
    assert out == noise.join([MASK] * 5)
    document = json.dumps({value: value for value in values}).encode()
    assert masked(values, document).count(MASK) == 2000
    assert masked([], noise) == noise


def test_base64_of_the_shell_is_masked() -> None:
    value = MULTILINE * 3
    done = subprocess.run(["base64"], input=value.encode(), capture_output=True, check=True)
    assert masked([value], done.stdout) in (MASK + b"\n", MASK)


SHELLS = {
    "set -x": ("bash", 'set -x; : "$V"; : --password="$V"'),
    "set -x of dash": ("dash", 'set -x; : "$V"'),
    "printf %q": ("bash", "printf '%q\\n' \"$V\""),
    "@Q": ("bash", 'echo "${V@Q}"'),
    "declare -p": ("bash", "declare -p V"),
    "export -p": ("dash", "export -p"),
}  # fmt: skip


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("case", SHELLS)
@pytest.mark.parametrize(
    "value",
    ["c4n4ry's $HOME `id` \"x\" \\ !2", "c4n4ry\tof\n'lines'\x1b[1m\x01", "c4n4ry é ü ' 世界", "#c4n4ry~{a,b}*?[z]^"],
    ids=("quotes", "controls", "letters", "globs"),
)  # fmt: skip
def test_what_a_shell_prints_of_a_value_is_masked(case: str, value: str, locale: str) -> None:
    shell, script = SHELLS[case]
    done = subprocess.run(
        [shell, "-c", script], env={"V": value, "LC_ALL": locale}, capture_output=True, check=True
    )
    told = done.stdout + done.stderr

    assert b"c4n4ry" in told
    out = masked([value], told)
    assert b"c4n4ry" not in out, told
    assert MASK in out


@pytest.mark.parametrize("value", ['c4n4ry "of" é\\n', "c4n4ry/a b~!*'()+=&%", "c4n4ry\n\ttwo lines é"])
def test_nested_json_and_the_addresses_of_other_languages_are_masked(value: str) -> None:
    told = [
        json.dumps({"body": json.dumps({"password": value})}),
        json.dumps({"body": json.dumps({"password": value}, ensure_ascii=False)}, ensure_ascii=False),
        re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quote(value, safe="")),
        re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quote_plus(value, safe="!*()")).replace(
            "~", "%7e"
        ),
        # encodeURIComponent, URLEncoder
        quote(value, safe="!*'()"),
        quote_plus(value, safe="*").replace("~", "%7E"),
    ]
    for text in told:
        assert b"c4n4ry" not in masked([value], text.encode()), text
