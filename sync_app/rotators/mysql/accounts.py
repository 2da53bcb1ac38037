"""Accounts, grants and password hashes of MySQL and MariaDB as text: parsed, quoted, compared, computed.

A hash is computed here: the server never reads a password. Each is what follows `IDENTIFIED WITH plugin
AS`.
"""

import base64
import hashlib
import re
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from nacl import bindings

from sync_app.errors import BadDestination

_QUOTED: Final = r"'(?:[^']|'')+'|\"(?:[^\"]|\"\")+\"|`(?:[^`]|``)+`"
_ACCOUNT: Final = re.compile(
    rf"(?P<user>{_QUOTED}|[^'\"`@\s]+)(?:@(?P<host>{_QUOTED}|[^'\"`@\s]+))?", re.DOTALL
)
# A privilege may be followed by the columns that it is for.
_PRIVILEGE: Final = re.compile(r"([^,(]+)(?:\(((?:`(?:[^`]|``)*`|[^)`])*)\))?")
_COLUMN: Final = re.compile(r"`(?:[^`]|``)*`|[^,`\s]+")
_ROLE: Final = re.compile(r"`(?:[^`]|``)*`(?:@`(?:[^`]|``)*`)?")
_QUOTED_TEXT: Final = re.compile(r"'(?:[^']|'')*'")
ALL: Final = "ALL PRIVILEGES"
GRANT_OPTION: Final = "GRANT OPTION"
ADMIN_OPTION: Final = "ADMIN OPTION"


@dataclass(frozen=True)
class Account:
    """A user name and a host part; without a host part all accounts of the name are meant."""

    user: str
    host: str | None = None

    @classmethod
    def parse(cls, text: str, *, field: str) -> Self:
        """Return the account that a text names: `app`, `'app'@'10.0.%'`.

        Raises BadDestination if it is no account name.
        """
        found = _ACCOUNT.fullmatch(text.strip())
        if found is None or "\0" in text:
            raise BadDestination("enter an account as app, or 'app'@'10.0.%'", field=field)
        host = found["host"]
        return cls(_unquote(found["user"]), _unquote(host).lower() if host else None)


def quote_account(user: str, host: str) -> str:
    """Return an account for a statement.

    Quoted as identifiers: backslashes and double quotes then mean the same under every sql_mode.
    """
    return "@".join("`" + part.replace("`", "``") + "`" for part in (user, host))


class Grant(NamedTuple):
    """One line of SHOW GRANTS, or one privilege of it, without the account.

    Of a role the place is empty. The verb is empty for a line that is not understood, which is kept whole.
    """

    privilege: str
    place: str = ""
    option: str = ""
    verb: str = "GRANT"

    def __str__(self) -> str:
        if self.verb == "SET DEFAULT ROLE":
            return f"the default role {self.privilege}"
        if not self.verb:
            return self.privilege
        if not self.place:
            return f"{f'{self.option} on ' if self.option else ''}the role {self.privilege}"
        return f"{'a revocation of ' if self.verb == 'REVOKE' else ''}{self.privilege} ON {self.place}"

    def statement(self, account: str, *, gives: bool) -> str:
        """Return what gives it to an account, or takes it from there; empty if it is not known."""
        if not self.verb:
            return ""
        if self.verb == "SET DEFAULT ROLE":
            return f"SET DEFAULT ROLE {self.privilege if gives else 'NONE'} FOR {account}"
        what = f"{self.privilege} ON {self.place}" if self.place else self.privilege
        if gives is (self.verb == "GRANT"):
            return f"GRANT {what} TO {account}{f' WITH {self.option}' if self.option else ''}"
        return f"REVOKE {f'{self.option} FOR ' if self.option else ''}{what} FROM {account}"


def parse_grant(line: str, account: str) -> set[Grant]:
    """Return what a line of SHOW GRANTS for an account, quoted as there, gives it.

    What follows the account there (the hash of its password, REQUIRE, limits) is no grant.
    """
    for verb, word in (("GRANT", " TO "), ("REVOKE", " FROM "), ("SET DEFAULT ROLE", " FOR ")):
        head, found, rest = line.rpartition(word + account)
        if not found or not head.startswith(verb + " "):
            continue
        head, rest = head.removeprefix(verb + " "), _QUOTED_TEXT.sub("", rest)
        if verb == "SET DEFAULT ROLE":
            return {Grant(head, verb=verb)}
        if head.startswith("`"):
            options = ["", ADMIN_OPTION] if ADMIN_OPTION in rest else [""]
            return {Grant(role, option=option) for role in _ROLE.findall(head) for option in options}
        privileges, _, place = head.partition(" ON ")
        given = {
            Grant(each, place, verb=verb)
            for name, columns in _PRIVILEGE.findall(privileges)
            for each in _privileges(name.strip(), columns)
        }
        if "GRANT OPTION" in rest:
            given.add(Grant(GRANT_OPTION, place))
        return {each for each in given if each.privilege not in {"", "USAGE"}}
    return {Grant(line.replace(account, "…"), verb="")}


def _privileges(name: str, columns: str) -> list[str]:
    return [f"{name} ({column})" for column in _COLUMN.findall(columns)] if columns else [name]


def _unquote(text: str) -> str:
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote) if quote in "'\"`" else text


_SALT_LENGTH: Final = 20
_ROUNDS: Final = 5_000
_CRYPT_ALPHABET: Final = "./" + string.digits + string.ascii_uppercase + string.ascii_lowercase


def hash_native(password: str) -> str:
    """Return the hash of mysql_native_password: `*` and the hexadecimal SHA-1 of the SHA-1."""
    once = hashlib.sha1(password.encode()).digest()  # noqa: S324  what the server keeps
    return "*" + hashlib.sha1(once).hexdigest().upper()  # noqa: S324


def hash_ed25519(password: str) -> str:
    """Return the public key of MariaDB's ed25519, whose secret is the SHA-512 of the password."""
    secret = bytearray(hashlib.sha512(password.encode()).digest()[:32])
    secret[0] &= 248
    secret[31] = secret[31] & 127 | 64
    public: bytes = bindings.crypto_scalarmult_ed25519_base_noclamp(bytes(secret))
    return base64.b64encode(public).decode().rstrip("=")


def hash_caching_sha2(password: str) -> str:
    """Return the hash of MySQL 8's caching_sha2_password, with a new salt."""
    salt = "".join(secrets.choice(_CRYPT_ALPHABET) for _ in range(_SALT_LENGTH))
    return f"$A$005${salt}{sha256_crypt(password.encode(), salt.encode())}"


def sha256_crypt(password: bytes, salt: bytes) -> str:
    """Return the 43 characters of SHA-crypt with SHA-256 and 5,000 rounds.

    The algorithm is Drepper's "Unix crypt using SHA-256 and SHA-512"; MySQL takes 20 bytes of salt
    where that stops at 16, which is why no library has it.
    """
    length = len(password)
    second = hashlib.sha256(password + salt + password).digest()
    first = hashlib.sha256(password + salt + _repeat(second, length))
    bits = length
    while bits:
        first.update(second if bits & 1 else password)
        bits >>= 1
    digest = first.digest()
    p = _repeat(hashlib.sha256(password * length).digest(), length)
    s = _repeat(hashlib.sha256(salt * (16 + digest[0])).digest(), len(salt))
    for number in range(_ROUNDS):
        start, end = (p, digest) if number % 2 else (digest, p)
        middle = (s if number % 3 else b"") + (p if number % 7 else b"")
        digest = hashlib.sha256(start + middle + end).digest()
    return _crypt_base64(digest)


HASHES: Final[dict[str, Callable[[str], str]]] = {
    "mysql_native_password": hash_native,
    "ed25519": hash_ed25519,
    "caching_sha2_password": hash_caching_sha2,
}


def _repeat(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _crypt_base64(digest: bytes) -> str:
    """Return the digest in crypt's own order and alphabet, four characters for three bytes."""
    groups = [(index * 21 % 30, (index * 21 + 10) % 30, (index * 21 + 20) % 30) for index in range(10)]
    text = "".join(_characters(int.from_bytes([digest[i] for i in group]), 4) for group in groups)
    return text + _characters(int.from_bytes([digest[31], digest[30]]), 3)


def _characters(number: int, count: int) -> str:
    return "".join(_CRYPT_ALPHABET[number >> 6 * index & 63] for index in range(count))
