"""Bodies of JSON: each name once, wherever it is, and as much depth as can be judged."""

import orjson
import pytest

from core.http.json import AmbiguousJson, load_unique


@pytest.mark.parametrize(
    "body",
    [b'{"a":1,"a":1}', b'[{"a":{"b":1,"c":2,"b":3}}]', b'{"a":1,"\\u0061":2}', b'{"":1,"":2}'],
)
def test_a_name_that_comes_twice_is_refused(body: bytes) -> None:
    orjson.loads(body)
    with pytest.raises(AmbiguousJson):
        load_unique(body)


@pytest.mark.parametrize(
    "body",
    [b'{"a":1,"A":2}', b'{"a":{"a":{"a":1}}}', b'[{"a":1},{"a":1}]', b'"a"', b"1", b'{"a":"{\\"b\\":1,\\"b\\":2}"}',
     b'{"n":' + b"9" * 200 + b"}", b"[" * 900 + b"]" * 900],
    ids=["case", "nested", "beside", "text", "number", "within a text", "long number", "deep"],
)  # fmt: skip
def test_any_other_document_is_as_orjson_reads_it(body: bytes) -> None:
    assert load_unique(body) == orjson.loads(body)


def test_what_is_no_json_is_refused_as_before() -> None:
    for body in (b"", b"{", b'{"a":NaN}', b"\xff", b"[" * 5000):
        with pytest.raises(orjson.JSONDecodeError):
            load_unique(body)
