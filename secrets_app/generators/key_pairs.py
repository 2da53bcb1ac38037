"""New key pairs by the name of their algorithm, for SSH keys and certificates alike."""

from collections.abc import Callable
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from secrets_app.generators.options import Option

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
