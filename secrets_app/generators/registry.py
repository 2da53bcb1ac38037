"""The values that Keeper can make: one literal registry, from which API and forms take kinds and options."""

from collections.abc import Mapping

from secrets_app.errors import InvalidOption
from secrets_app.generators.certificate import CERTIFICATE, CSR
from secrets_app.generators.database import JSON
from secrets_app.generators.key_pairs import SSH_KEY
from secrets_app.generators.options import Generated, Generator, Option
from secrets_app.generators.passphrase import PASSPHRASE
from secrets_app.generators.password import PASSWORD
from secrets_app.generators.tokens import API_KEY, TOKEN, UUID

__all__ = ["GENERATORS", "Generated", "Generator", "Option", "generate"]

GENERATORS: dict[str, Generator] = {
    "password": PASSWORD,
    "passphrase": PASSPHRASE,
    "api_key": API_KEY,
    "token": TOKEN,
    "uuid": UUID,
    "ssh_key": SSH_KEY,
    "certificate": CERTIFICATE,
    "csr": CSR,
    "json": JSON,
}


def generate(kind: str, options: Mapping[str, object]) -> Generated:
    """Make a value of `kind`; what `options` does not name takes its default.

    Raises InvalidOption if the kind or an option is unknown, or a value is not one that the option takes.
    """
    generator = GENERATORS.get(kind)
    if generator is None:
        raise InvalidOption("kind", f"Choose one of {', '.join(GENERATORS)}.")
    return generator.make(**generator.checked(options))
