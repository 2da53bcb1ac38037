"""The values that Keeper can make, and which generator a caller means.

One literal registry gives kinds and options to API and forms. A caller names a kind, a type of secret, or
neither.
"""

from collections.abc import Mapping

from core.parsing import whole_number
from secrets_app.errors import InvalidOption
from secrets_app.types.generators.database import JSON
from secrets_app.types.generators.key_pairs import CERTIFICATE, CSR, SSH_KEY
from secrets_app.types.generators.options import Generated, Generator, Option
from secrets_app.types.generators.passphrase import PASSPHRASE
from secrets_app.types.generators.password import PASSWORD
from secrets_app.types.generators.tokens import API_KEY, TOKEN, UUID
from secrets_app.types.registry import SecretType, parse_secret_type

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
    generator = _generator(kind)
    return generator.make(**generator.checked(options))


def _generator(kind: str) -> Generator:
    if kind not in GENERATORS:
        raise InvalidOption("kind", f"Choose one of {', '.join(GENERATORS)}.")
    return GENERATORS[kind]


# No option of a generator reaches it.
_MAX_INTEGER = 10**9
# The kind that makes a value of each type when none is named; a text or YAML document has no sensible
# default.
DEFAULT_KINDS: dict[SecretType, str] = {
    SecretType.PASSWORD: "password",
    SecretType.API_KEY: "api_key",
    SecretType.SSH_KEY: "ssh_key",
    SecretType.CERTIFICATE: "certificate",
    SecretType.JSON: "json",
}


def kind_for(kind: str | None, secret_type: str | None) -> str:
    """Return the kind that `kind` names ("api-key" is api_key), or the usual one for `secret_type`.

    With neither it is a password.

    Raises InvalidOption if there is no such kind, no generator for the type, or the two contradict; and
    InvalidValue if there is no such type.
    """
    named_type = parse_secret_type(secret_type) if secret_type else None
    if not kind:
        named_type = named_type or SecretType.PASSWORD
        if named_type not in DEFAULT_KINDS:
            raise InvalidOption(
                "secret_type", f"Nothing generates {named_type} values: choose a kind instead."
            )
        return DEFAULT_KINDS[named_type]
    generator = _generator(kind.strip().lower().replace("-", "_"))
    if named_type is not None and generator.secret_type is not named_type:
        raise InvalidOption("secret_type", f"This kind makes {generator.secret_type}: leave the type out.")
    return generator.kind


def options_from_form(kind: str, data: Mapping[str, str]) -> dict[str, object]:
    """Return a kind's options as an HTML form sends them: as text, and no unchecked box at all.

    Raises InvalidOption if there is no such kind.
    """
    return {option.name: _from_form(option, data.get(option.name)) for option in _generator(kind).options}


def _from_form(option: Option, text: str | None) -> object:
    if option.kind == "boolean":
        return text is not None
    if text is None:
        return option.default
    if option.kind == "integer":
        # What is no number stays text, which the option itself refuses.
        number = whole_number(text, largest=_MAX_INTEGER)
        return text if number is None else number
    if option.kind == "list":
        return [item.strip() for item in text.split(",") if item.strip()]
    return text
