"""Whatever goes into the chunks comes out, and nothing comes out of chunks that were tampered with."""

import io
import secrets
from typing import BinaryIO, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from operations_app.backup.archive import format as archive_format
from operations_app.backup.archive.format import CHUNK, ChunkReader, ChunkWriter
from operations_app.backup.errors import Altered, Truncated

KEY = bytes(range(32))
SEALED = CHUNK + 16


def sealed(plain: bytes, *, pieces: int = 1) -> bytes:
    out = io.BytesIO()
    writer = ChunkWriter(out, KEY)
    step = len(plain) // pieces + 1
    for start in range(0, len(plain), step):
        writer.write(plain[start : start + step])
    writer.finish()
    return out.getvalue()


def opened(chunks: bytes, key: bytes = KEY) -> bytes:
    return ChunkReader(cast("BinaryIO", io.BytesIO(chunks)), key, size=len(chunks)).readall()


@example(size=0, pieces=1)
@example(size=CHUNK, pieces=1)
@example(size=CHUNK + 1, pieces=2)
@example(size=2 * CHUNK, pieces=5)
@given(
    size=st.one_of(st.integers(0, 100), st.integers(CHUNK - 2, CHUNK + 2), st.just(2 * CHUNK)),
    pieces=st.integers(1, 5),
)
def test_it_gives_back_what_it_took(size: int, pieces: int) -> None:
    plain = secrets.token_bytes(size)
    assert opened(sealed(plain, pieces=pieces)) == plain


def test_it_refuses_chunks_that_are_not_the_whole_stream_in_order() -> None:
    chunks = sealed(secrets.token_bytes(3 * CHUNK - 100))
    first, second, last = chunks[:SEALED], chunks[SEALED : 2 * SEALED], chunks[2 * SEALED :]
    for broken in (
        second + first + last,
        first + first + second + last,
        first + last,
        first + second,
        first,
        last,
        first + second + last + last,
    ):
        with pytest.raises(Altered):
            opened(broken)
    with pytest.raises(Truncated):
        opened(chunks[: 2 * SEALED + 7])
    with pytest.raises(Altered):
        opened(chunks, bytes(32))


def test_it_gives_out_no_byte_of_a_chunk_that_does_not_open() -> None:
    chunks = bytearray(sealed(b"a" * (CHUNK + 1)))
    chunks[-1] ^= 1
    reader = ChunkReader(cast("BinaryIO", io.BytesIO(bytes(chunks))), KEY, size=len(chunks))
    assert reader.read(CHUNK) == b"a" * CHUNK
    with pytest.raises(Altered):
        reader.read(1)


def test_nonces_never_repeat() -> None:
    seen = {archive_format._nonce(counter, last=last) for counter in range(1000) for last in (False, True)}
    assert len(seen) == 2000
