"""Which generator is meant, when a caller names a kind, a type of secret, or neither."""

from secrets_app.generators import GENERATORS
from secrets_app.input_errors import InvalidOption
from secrets_app.secret_types import SecretType, parse_secret_type

# The kind that makes a value of each type when none is named; nobody can guess a text or a YAML document.
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
    wanted = parse_secret_type(secret_type) if secret_type else None
    if not kind:
        return _default_kind(wanted or SecretType.PASSWORD)
    name = kind.strip().lower().replace("-", "_")
    if name not in GENERATORS:
        raise InvalidOption("kind", f"Choose one of {', '.join(GENERATORS)}.")
    if wanted is not None and GENERATORS[name].secret_type is not wanted:
        raise InvalidOption(
            "secret_type", f"This kind makes {GENERATORS[name].secret_type}: leave the type out."
        )
    return name


def _default_kind(secret_type: SecretType) -> str:
    if secret_type not in DEFAULT_KINDS:
        raise InvalidOption("secret_type", f"Nothing generates {secret_type} values: choose a kind instead.")
    return DEFAULT_KINDS[secret_type]
