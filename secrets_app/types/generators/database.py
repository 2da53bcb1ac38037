"""Database credentials as JSON, in the convention of AWS Secrets Manager's rotation functions."""

import json
import string

from secrets_app.types.generators.options import Generated, Generator, Option
from secrets_app.types.generators.password import draw, entropy_bits
from secrets_app.types.registry import SecretType

DEFAULT_PORTS = {
    "postgres": 5432,
    "mysql": 3306,
    "mariadb": 3306,
    "sqlserver": 1433,
    "oracle": 1521,
    "mongo": 27017,
}
# The unreserved characters of RFC 3986: such a password goes into a connection URL as it is.
_CLASSES = (string.ascii_lowercase, string.ascii_uppercase, string.digits, "-._~")


def make(*, engine: str, host: str, port: int, username: str, dbname: str, password_length: int) -> Generated:
    """Return a credential with a new password; port 0 stands for the engine's own."""
    credential = {
        "engine": engine,
        "host": host,
        "port": port or DEFAULT_PORTS[engine],
        "username": username,
        "password": draw(password_length, _CLASSES),
        "dbname": dbname,
    }
    bits = entropy_bits(password_length, _CLASSES)
    return Generated(json.dumps(credential, indent=2), SecretType.JSON, None, bits)


JSON = Generator(
    kind="json",
    label="Database credential (JSON)",
    secret_type=SecretType.JSON,
    make=make,
    options=(
        Option(
            name="engine", label="Engine", kind="choice", default="postgres", choices=tuple(DEFAULT_PORTS)
        ),
        Option(name="host", label="Host", kind="text", default="localhost", minimum=1, maximum=255),
        Option(
            name="port",
            label="Port",
            kind="integer",
            default=0,
            minimum=0,
            maximum=65535,
            help="0 uses the engine's default port.",
        ),
        Option(name="username", label="Username", kind="text", default="app", minimum=1, maximum=128),
        Option(name="dbname", label="Database", kind="text", default="app", maximum=128),
        Option(
            name="password_length",
            label="Password length",
            kind="integer",
            default=32,
            minimum=12,
            maximum=128,
        ),
    ),
)
