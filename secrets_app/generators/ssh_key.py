"""SSH key pairs in the OpenSSH format: the private key is the value, the public line may be published."""

from cryptography.hazmat.primitives import serialization

from secrets_app.generators.key_pairs import algorithm_option, new_key
from secrets_app.generators.options import Generated, Generator, Option
from secrets_app.secret_types import SecretType


def make(*, algorithm: str, comment: str) -> Generated:
    """Return a new key; `comment` ends the public line (as the name of the key in authorized_keys)."""
    key = new_key(algorithm)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return Generated(private.decode(), SecretType.SSH_KEY, f"{public.decode()} {comment}".rstrip())


SSH_KEY = Generator(
    kind="ssh_key",
    label="SSH key",
    secret_type=SecretType.SSH_KEY,
    make=make,
    options=(
        algorithm_option("ed25519"),
        Option(
            name="comment",
            label="Comment",
            kind="text",
            default="",
            maximum=255,
            help="Stands at the end of the public key.",
        ),
    ),
)
