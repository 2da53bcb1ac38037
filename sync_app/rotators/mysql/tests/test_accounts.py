"""The hashes are those of the servers: published examples, and Python's own crypt where it has the algorithm."""

import re

import pytest

from sync_app.rotators.mysql.accounts import (
    HASHES,
    hash_caching_sha2,
    hash_ed25519,
    hash_native,
    sha256_crypt,
)


def test_native_is_the_example_of_mariadb() -> None:
    assert hash_native("mariadb") == "*54958E764CE10E50764C2EECBB71D01F08549980"


def test_ed25519_is_the_example_of_mariadb() -> None:
    assert hash_ed25519("secret") == "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY"


def test_caching_sha2_is_the_example_of_hashcat() -> None:
    """Mode 7401, whose salt is of 20 bytes that are not text."""
    salt = bytes.fromhex("F9CC98CE08892924F50A213B6BC571A2C11778C5")
    assert sha256_crypt(b"hashcat", salt) == "bTy95Y99eAME1dwEkHOA1ndHGBWz.1bxSSRkuTXFGV/"


@pytest.mark.parametrize(
    ("password", "salt", "expected"),
    [
        # From "Unix crypt using SHA-256 and SHA-512", the one of its examples with the usual rounds.
        ("Hello world!", "saltstring", "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
    ],
)
def test_the_algorithm_is_shacrypt(password: str, salt: str, expected: str) -> None:
    assert sha256_crypt(password.encode(), salt.encode()) == expected


def test_each_salt_is_new() -> None:
    first, second = hash_caching_sha2("x"), hash_caching_sha2("x")
    assert first != second
    assert re.fullmatch(r"\$A\$005\$[./0-9A-Za-z]{63}", first)


@pytest.mark.parametrize("plugin", HASHES)
def test_no_hash_needs_escaping(plugin: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9./+*$]+", HASHES[plugin]("'\"\\`%;$"))
