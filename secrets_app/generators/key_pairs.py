"""New key pairs by the name of their algorithm, for SSH keys and certificates alike."""

from collections.abc import Callable
from typing import TypeAlias

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from secrets_app.generators.options import Generated, Generator, Option
from secrets_app.secret_types.registry import SecretType

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_ALGORITHMS: dict[str, Callable[[], PrivateKey]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa-3072": lambda: rsa.generate_private_key(public_exponent=65537, key_size=3072),
    "rsa-4096": lambda: rsa.generate_private_key(public_exponent=65537, key_size=4096),
}


def algorithm_option(default: str) -> Option:
    """Return the option that chooses the algorithm."""
    return Option(
        name="algorithm",
        label="Algorithm",
        kind="choice",
        default=default,
        choices=tuple(_ALGORITHMS),
    )


def new_key(algorithm: str) -> PrivateKey:
    """Return a new private key; the randomness is OpenSSL's, seeded by the kernel."""
    return _ALGORITHMS[algorithm]()


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
            help="Added to the end of the public key.",
        ),
    ),
)
