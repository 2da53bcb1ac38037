"""Just enough DER (X.690) to see which algorithm a private key is for before it is parsed."""

_SEQUENCE, _INTEGER, _OBJECT_IDENTIFIER = 0x30, 0x02, 0x06
_LONG_FORM = 0x80


def key_algorithm(pkcs8: bytes) -> str | None:
    """Return the dotted algorithm identifier of an unencrypted PKCS#8 key (RFC 5958), None if it has none."""
    body = _content(pkcs8, 0, _SEQUENCE)
    version = _content(pkcs8, body[0], _INTEGER) if body else None
    identifier = _content(pkcs8, version[1], _SEQUENCE) if version else None
    oid = _content(pkcs8, identifier[0], _OBJECT_IDENTIFIER) if identifier else None
    return _dotted(pkcs8[oid[0] : oid[1]]) if oid else None


def is_sequence(data: bytes) -> bool:
    """Return whether `data` is exactly one SEQUENCE."""
    body = _content(data, 0, _SEQUENCE)
    return body is not None and body[1] == len(data)


def _content(data: bytes, position: int, tag: int) -> tuple[int, int] | None:
    """Return where the content of the element at `position` begins and ends, None if it has another tag."""
    if position + 2 > len(data) or data[position] != tag:
        return None
    length, start = data[position + 1], position + 2
    if length & _LONG_FORM:
        octets = length & 0x7F
        length = int.from_bytes(data[start : start + octets])
        start += octets
    return (start, start + length) if start + length <= len(data) else None


def _dotted(oid: bytes) -> str:
    arcs: list[int] = []
    value = 0
    for octet in oid:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    if not arcs:
        return ""
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))
