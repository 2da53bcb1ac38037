"""Envelopes: they open where they were sealed, whole, and nowhere else."""

import dataclasses
import hmac
import pickle
import secrets
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secrets_app.envelope import (
    HEADER_BYTES,
    MAX_ENVELOPE_BYTES,
    MIN_ENVELOPE_BYTES,
    Context,
    PlainKey,
    data_key_id,
    open_envelope,
    seal,
    version_parent,
)
from secrets_app.errors import EnvelopeError, InvalidPlaintext, Malformed, UnknownFormat, WrongContext

KEY = PlainKey(id=uuid4(), material=secrets.token_bytes(32))
CONTEXT = Context(
    deployment=uuid4(),
    label="secret-version.value",
    row=uuid4(),
    environment=uuid4(),
    parent=version_parent(secret=uuid4(), number=7),
)

contexts = st.builds(
    Context,
    deployment=st.uuids(),
    label=st.text(st.characters(codec="ascii"), min_size=1, max_size=40),
    row=st.uuids(),
    environment=st.uuids(),
    parent=st.lists(st.binary(max_size=40), max_size=3).map(tuple),
)


def opened(
    envelope: bytes | bytearray | memoryview, context: Context = CONTEXT, key: PlainKey = KEY
) -> bytes:
    return open_envelope(envelope, data_key_for=lambda _id: key, context=context)


@example(plaintext=b"\x00", context=CONTEXT)
@example(plaintext=b"\xff" * 2000, context=dataclasses.replace(CONTEXT, parent=()))
@given(plaintext=st.binary(min_size=1, max_size=2000), context=contexts)
def test_it_opens_what_it_sealed(plaintext: bytes, context: Context) -> None:
    assert opened(seal(plaintext, data_key=KEY, context=context), context) == plaintext


@given(plaintext=st.binary(min_size=1, max_size=64), data=st.data())
def test_it_refuses_every_flipped_bit(plaintext: bytes, data: st.DataObject) -> None:
    envelope = bytearray(seal(plaintext, data_key=KEY, context=CONTEXT))
    bit = data.draw(st.integers(0, len(envelope) * 8 - 1))
    envelope[bit // 8] ^= 1 << bit % 8
    with pytest.raises(EnvelopeError):
        opened(envelope)


def test_it_refuses_every_truncation() -> None:
    envelope = seal(b"a value", data_key=KEY, context=CONTEXT)
    for length in range(len(envelope)):
        with pytest.raises(EnvelopeError):
            opened(envelope[:length])


@example(tail=b"\x00")
@example(tail=bytes(16))
@given(tail=st.binary(min_size=1, max_size=32))
def test_it_refuses_appended_bytes(tail: bytes) -> None:
    with pytest.raises(WrongContext):
        opened(seal(b"a value", data_key=KEY, context=CONTEXT) + tail)


@given(context=contexts)
def test_it_refuses_another_context(context: Context) -> None:
    with pytest.raises(WrongContext):
        opened(seal(b"a value", data_key=KEY, context=CONTEXT), context)


@pytest.mark.parametrize(
    "other",
    [
        {"deployment": uuid4()},
        {"label": "secret-version.valuf"},
        {"row": uuid4()},
        {"environment": uuid4()},
        {"parent": ()},
        {"parent": (*CONTEXT.parent, b"")},
        {"parent": (b"".join(CONTEXT.parent),)},
        {"parent": (CONTEXT.parent[0], (8).to_bytes(8, "big"))},
    ],
    ids=lambda other: next(iter(other)),
)
def test_it_is_bound_to_every_part_of_its_context(other: dict[str, Any]) -> None:
    envelope = seal(b"a value", data_key=KEY, context=CONTEXT)
    with pytest.raises(WrongContext):
        opened(envelope, dataclasses.replace(CONTEXT, **other))


# Where one part ends and the next begins.
@example(first=[], second=[b""])
@example(first=[b"ab", b"c"], second=[b"a", b"bc"])
@example(first=[b"a", b""], second=[b"", b"a"])
@given(first=st.lists(st.binary(max_size=4), max_size=4), second=st.lists(st.binary(max_size=4), max_size=4))
def test_the_authenticated_bytes_differ_when_the_parents_do(first: list[bytes], second: list[bytes]) -> None:
    one = dataclasses.replace(CONTEXT, parent=tuple(first)).binding
    other = dataclasses.replace(CONTEXT, parent=tuple(second)).binding
    assert (one == other) == (first == second)


def test_it_refuses_another_key_under_the_same_id_by_the_commitment() -> None:
    other = PlainKey(id=KEY.id, material=secrets.token_bytes(32))
    with pytest.raises(WrongContext, match="not sealed under the data key"):
        opened(seal(b"a value", data_key=KEY, context=CONTEXT), key=other)


@pytest.mark.parametrize("content", [b"", b"plain text", b"KPR", b"a" * 200, b"gAAAAABm" + b"x" * 120])
def test_it_refuses_what_is_no_envelope(content: bytes) -> None:
    with pytest.raises(Malformed):
        opened(content)


def test_it_refuses_an_envelope_that_is_too_long() -> None:
    with pytest.raises(Malformed):
        opened(seal(b"x" * 65_536, data_key=KEY, context=CONTEXT) + b"x")


@pytest.mark.parametrize(("position", "value"), [(3, 0), (3, 2), (4, 0), (4, 2)])
def test_it_refuses_unknown_versions_and_suites_before_any_key_is_asked_for(
    position: int, value: int
) -> None:
    def no_key(data_key_id: UUID) -> PlainKey:
        pytest.fail("a key was asked for")

    envelope = bytearray(seal(b"a value", data_key=KEY, context=CONTEXT))
    envelope[position] = value
    with pytest.raises(UnknownFormat):
        open_envelope(envelope, data_key_for=no_key, context=CONTEXT)


@pytest.mark.parametrize("size", [0, 65_537])
def test_it_seals_neither_nothing_nor_too_much(size: int) -> None:
    with pytest.raises(InvalidPlaintext):
        seal(b"x" * size, data_key=KEY, context=CONTEXT)


def test_the_bounds_are_those_of_the_format() -> None:
    assert len(seal(b"x", data_key=KEY, context=CONTEXT)) == MIN_ENVELOPE_BYTES == 114
    largest = seal(b"x" * 65_536, data_key=KEY, context=CONTEXT)
    assert len(largest) == MAX_ENVELOPE_BYTES
    assert len(opened(largest)) == 65_536


def test_equal_values_never_look_equal() -> None:
    sealed = {seal(b"a value", data_key=KEY, context=CONTEXT)[37:] for _ in range(50)}
    assert len(sealed) == 50
    assert len({envelope[HEADER_BYTES - 37 :] for envelope in sealed}) == 50


def test_it_asks_for_the_key_that_the_header_names() -> None:
    envelope = seal(b"a value", data_key=KEY, context=CONTEXT)
    asked: list[UUID] = []

    def key_for(id: UUID) -> PlainKey:
        asked.append(id)
        return KEY

    open_envelope(envelope, data_key_for=key_for, context=CONTEXT)
    assert asked == [KEY.id] == [data_key_id(envelope)]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_it_opens_what_the_database_drivers_return(kind: type) -> None:
    assert opened(kind(seal(b"a value", data_key=KEY, context=CONTEXT))) == b"a value"


# About the blocks of SHA-256 and SHA-512.
@example(messages=[b"", bytes(55), bytes(56), bytes(64)])
@example(messages=[bytes(111), bytes(112), bytes(128), b""])
@given(messages=st.lists(st.binary(max_size=300), min_size=2, max_size=4))
def test_the_hmacs_of_a_data_key_are_those_of_the_standard_library_each_time(messages: list[bytes]) -> None:
    for message in messages:
        assert KEY.hmac_sha256(message) == hmac.digest(KEY.material, message, "sha256")
        assert KEY.hmac_sha512(message) == hmac.digest(KEY.material, message, "sha512")


def test_a_data_key_shows_itself_nowhere() -> None:
    # An id that is drawn may have these digits itself, and is shown.
    key = PlainKey(id=UUID(int=7), material=b"0123456789abcdef0123456789abcdef")
    assert "0123" not in repr(key)
    assert "0123" not in f"{key} {key!s} {[key]}"
    with pytest.raises(TypeError):
        pickle.dumps(key)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_data_key_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        PlainKey(id=uuid4(), material=b"x" * size)
