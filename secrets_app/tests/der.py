"""Keys in DER with numbers of our choice, which no library would write."""


def _element(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _integer(number: int) -> bytes:
    return _element(2, number.to_bytes(number.bit_length() // 8 + 1))


def _sequence(*items: bytes) -> bytes:
    return _element(0x30, b"".join(items))


def der_key(algorithm: str, key: bytes, parameters: bytes = b"\x05\x00") -> bytes:
    """A PKCS#8 key: `algorithm` is the identifier's content in hexadecimal."""
    return _sequence(
        _integer(0), _sequence(_element(6, bytes.fromhex(algorithm)), parameters), _element(4, key)
    )


def rsa_key(n: int, e: int, d: int, p: int, q: int) -> bytes:
    """A PKCS#1 key."""
    numbers = (0, n, e, d, p, q, d % max(p - 1, 1), d % max(q - 1, 1), 1)
    return _sequence(*(_integer(number) for number in numbers))


def dsa_key(size: int) -> bytes:
    """A PKCS#8 key for DSA with a modulus of `size` bytes."""
    modulus = 1 << (8 * size - 1) | 12345
    parameters = _sequence(_integer(modulus), _integer(modulus >> 256 | 1), _integer(3))
    return der_key("2a8648ce380401", _integer(5), parameters)
