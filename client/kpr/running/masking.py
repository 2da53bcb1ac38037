"""Values of secrets in a stream of bytes, replaced as they pass, also where a value comes in parts.

What is looked for: a value, its lines of 8 characters or more, and both as JSON, quoted by a shell, in
addresses, in HTML, in hexadecimal and in base64. A value of fewer than 4 bytes is not looked for: it is a
part of any text.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = b"[masked]"
SHORTEST = 4
# Shorter lines of a value, and shorter encodings, are parts of any text.
_SHORTEST_PART = 8
# Lines of base64(1) and of MIME, and of PEM.
_WRAPPED = (76, 64)
_HEX = re.compile(r"%[0-9A-F]{2}")
_DOUBLE_QUOTED = re.compile(r'[\\"$`]')
_BACKSLASHED = re.compile(r"[\s'\"\\|&;()<>!{}*\[?\]^$`,]|^[~#]")
# What bash writes between $' and '.
_ESCAPES = {
    "\a": r"\a", "\b": r"\b", "\x1b": r"\E", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v",
    "\\": r"\\", "'": r"\'",
}  # fmt: skip


class Masker:
    """Masks one stream. It holds back the bytes with which a value may begin, until it is decided."""

    def __init__(self, values: Iterable[str]) -> None:
        self._patterns: dict[bytes, list[bytes]] = {}
        for pattern in sorted(
            {each for value in values for each in patterns_of(value)}, key=len, reverse=True
        ):
            self._patterns.setdefault(pattern[:SHORTEST], []).append(pattern)
        self._heads = re.compile(_alternatives(set(self._patterns)) or rb"(?!)", re.DOTALL)
        self._starts = {head[:length] for head in self._patterns for length in range(1, SHORTEST)}
        self._held = b""
        # How much of what is held was given out already, as the program paused there.
        self._shown = 0

    def feed(self, data: bytes) -> bytes:
        """Take further bytes, and return what can be given out."""
        self._held += data
        return self._decided(is_end=False)

    def pause(self) -> bytes:
        """Return the held bytes of a prompt, at most 3; the rest of a value behind them is still masked."""
        if len(self._held) >= SHORTEST:
            return b""
        shown, self._shown = self._held[self._shown :], len(self._held)
        return shown

    def end(self) -> bytes:
        return self._decided(is_end=True)

    def _decided(self, *, is_end: bool) -> bytes:
        text, out, done = self._held, bytearray(), 0
        while found := self._heads.search(text, done):
            start = found.start()
            end = self._covered(text, start, is_end=is_end)
            if end is None:
                return self._keep(out, text, done, start)
            if end == start:
                end = start + 1
                out += text[max(done, self._shown) : end]
            else:
                out += text[max(done, self._shown) : start] + MASK
            done = end
        kept = 0 if is_end else self._undecided(text[done:])
        return self._keep(out, text, done, len(text) - kept)

    def _keep(self, out: bytearray, text: bytes, done: int, start: int) -> bytes:
        """Hold the text from a place on, and return all before."""
        out += text[max(done, self._shown) : start]
        self._held, self._shown = text[start:], max(self._shown - start, 0)
        return bytes(out)

    def _undecided(self, text: bytes) -> int:
        """Return how many bytes at the end of a text may begin a value."""
        sizes = range(min(SHORTEST - 1, len(text)), 0, -1)
        return next((size for size in sizes if text[-size:] in self._starts), 0)

    def _covered(self, text: bytes, start: int, *, is_end: bool) -> int | None:
        """Return the end of what begins at a place, with overlapping values; None if it is undecided."""
        end = self._end(text, start, is_end=is_end)
        position = start + 1
        while end is not None and end > start:
            inner = self._heads.search(text, position, end + SHORTEST)
            if inner is None or inner.start() >= end:
                if not is_end and self._undecided(text) > len(text) - end:
                    return None
                return end
            further = self._end(text, inner.start(), is_end=is_end)
            end = None if further is None else max(end, further)
            position = inner.start() + 1
        return end

    def _end(self, text: bytes, start: int, *, is_end: bool) -> int | None:
        """Return the end of the longest value at a place, or the place; None if more bytes decide it."""
        rest = len(text) - start
        for pattern in self._patterns[text[start : start + SHORTEST]]:
            if text.startswith(pattern, start):
                return start + len(pattern)
            if rest < len(pattern) and pattern.startswith(text[start:]):
                if not is_end:
                    return None
                if 2 * rest >= len(pattern):
                    # The larger part of a value is not shown either.
                    return len(text)
        return start


def patterns_of(value: str) -> set[bytes]:
    """Return what is looked for of a value, as bytes; nothing if it is too short."""
    if len(value.encode()) < SHORTEST:
        return set()
    found = {value.encode(), value.replace("\n", "\r\n").encode()}
    found |= {each for each in _encoded(value) if len(each) >= _SHORTEST_PART}
    for line in value.splitlines():
        part = line.strip()
        # The first and last line of a certificate or a key are in every other one.
        if len(part.encode()) >= _SHORTEST_PART and not part.startswith("-----") and part != value:
            found |= {part.encode(), *(each for each in _encoded(part) if len(each) >= _SHORTEST_PART)}
    return {each for each in found if len(each) >= SHORTEST}


def _encoded(value: str) -> Iterator[bytes]:
    plain = value.encode()
    texts = {repr(value)[1:-1], html.escape(value), plain.hex(), plain.hex().upper()}
    for is_ascii in (True, False):
        inner = json.dumps(value, ensure_ascii=is_ascii)[1:-1]
        # A document within a text of another one is escaped twice.
        texts |= {inner, json.dumps(inner, ensure_ascii=is_ascii)[1:-1]}
    # The last ones are what JavaScript, .NET and Java leave as it is.
    for safe in ("", "/", "!*'()", "!*()", "*"):
        for address in (quote(value, safe=safe), quote_plus(value, safe=safe)):
            for each in (address, address.replace("~", "%7E")):
                texts |= {each, _HEX.sub(lambda found: found[0].lower(), each)}
    yield from (text.encode() for text in texts | _of_shells(value))
    for shift in range(3):
        # Inside something longer its base64 looks otherwise, by where it begins.
        text = base64.b64encode(b"\0" * shift + plain)
        whole = text[4 if shift else 0 : len(b"\0" * shift + plain) // 3 * 4]
        yield from (whole, whole.replace(b"+", b"-").replace(b"/", b"_"))
    text = base64.b64encode(plain)
    for width in _WRAPPED:
        lines = [text[place : place + width] for place in range(0, len(text), width)]
        yield from (end.join(lines) for end in (b"\n", b"\r\n"))


def _of_shells(value: str) -> set[str]:
    """Return how shells quote a value: by `set -x`, `printf %q`, `declare -p` or `export -p`."""
    return {
        # Between single quotes: bash and zsh, dash.
        value.replace("'", "'\\''"),
        value.replace("'", "'\"'\"'"),
        _DOUBLE_QUOTED.sub(r"\\\g<0>", value),
        _BACKSLASHED.sub(r"\\\g<0>", value),
        # $'…', in a locale of UTF-8 and in C.
        "".join(_ESCAPES.get(each, each if each.isprintable() else _octal(each)) for each in value),
        "".join(_ESCAPES.get(each, each if " " <= each <= "~" else _octal(each)) for each in value),
    }


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode())


def _alternatives(heads: set[bytes]) -> bytes:
    """Return an expression for texts of one length that tries each byte once."""
    following: dict[int, set[bytes]] = {}
    for head in heads:
        if head:
            following.setdefault(head[0], set()).add(head[1:])
    parts = [re.escape(bytes([first])) + _alternatives(rest) for first, rest in sorted(following.items())]
    return parts[0] if len(parts) == 1 else b"(?:" + b"|".join(parts) + b")" if parts else b""
