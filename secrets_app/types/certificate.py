"""X.509 certificates: a PEM chain, the leaf first, with or without the leaf's private key."""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from secrets_app.types import pem
from secrets_app.types.bounds import Facts, refused

LABEL = "CERTIFICATE"
# Parameters that OpenSSL and HAProxy write into the same file.
_COMPANIONS = frozenset({"EC PARAMETERS", "DH PARAMETERS"})
_PARSE_ERRORS = (
    *pem.PARSE_ERRORS,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)

MAX_SANS = 100
MAX_NAME_LENGTH = 512


def inspect_certificate(value: str) -> Facts:
    """Return the facts of the first certificate of the chain, and whether its private key is there.

    Names are cut at 512 characters and alternative names at 100 (`san_count` has the true number), since
    facts are listed. Times are UTC in ISO 8601; the fingerprint is SHA-256 over the DER in hexadecimal.

    Raises InvalidValue if there is no certificate, one does not parse, there is more than one private
    key, or the key does not belong to the first certificate.
    """
    blocks = pem.blocks(value)
    chain = [_parsed(block, number) for number, block in enumerate(_labelled(blocks, {LABEL}), start=1)]
    keys = _labelled(blocks, pem.KEY_LABELS)
    if len(blocks) > len(chain) + len(keys) + len(_labelled(blocks, _COMPANIONS)):
        raise refused("The value holds PEM blocks other than certificates and a private key: remove them.")
    if not chain:
        raise refused("The value holds no PEM certificate: paste it from its BEGIN to its END line.")
    if len(keys) > 1:
        raise refused("The value holds more than one private key: keep the one of the first certificate.")
    return _facts(chain) | _key_facts(keys, chain[0])


def _labelled(blocks: list[pem.Block], labels: set[str] | frozenset[str]) -> list[pem.Block]:
    return [block for block in blocks if block.label in labels]


def _parsed(block: pem.Block, number: int) -> x509.Certificate:
    certificate = None
    try:
        certificate = x509.load_der_x509_certificate(block.content)
        # Parsing is lazy: what is read later as a fact must fail here or not at all.
        certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string(), certificate.extensions
    except _PARSE_ERRORS:
        certificate = None  # their messages can quote the certificate
    if certificate is None:
        raise refused(f"Certificate {number} of the chain cannot be read: paste it unchanged.")
    return certificate


def _facts(chain: list[x509.Certificate]) -> Facts:
    leaf = chain[0]
    sans = _alternative_names(leaf)
    facts: Facts = {
        "subject": leaf.subject.rfc4514_string()[:MAX_NAME_LENGTH],
        "issuer": leaf.issuer.rfc4514_string()[:MAX_NAME_LENGTH],
        "serial": f"{leaf.serial_number:x}",
        "not_before": _iso(leaf.not_valid_before_utc),
        "not_after": _iso(leaf.not_valid_after_utc),
        "sans": [*sans[:MAX_SANS]],
        "san_count": len(sans),
        "fingerprint_sha256": leaf.fingerprint(hashes.SHA256()).hex(),
        "self_issued": leaf.subject == leaf.issuer,
        "chain_length": len(chain),
    }
    key = _public_key(leaf)
    if key is not None:
        facts["key_algorithm"], facts["key_bits"] = pem.algorithm(key)
    return facts


def _alternative_names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    # A directory name or other exotic kind is shown by its kind only.
    simple = x509.DNSName | x509.RFC822Name | x509.UniformResourceIdentifier | x509.IPAddress
    return [
        str(name.value)[:MAX_NAME_LENGTH] if isinstance(name, simple) else type(name).__name__
        for name in extension.value
    ]


def _public_key(certificate: x509.Certificate) -> pem.PublicKey | None:
    try:
        key = certificate.public_key()
    except _PARSE_ERRORS:
        return None
    return key if isinstance(key, pem.PublicKey) else None


def _key_facts(keys: list[pem.Block], leaf: x509.Certificate) -> Facts:
    if not keys:
        return {"has_private_key": False}
    if keys[0].is_encrypted:
        # Whether it belongs to the certificate shows only with its passphrase, which Keeper does not ask for.
        return {"has_private_key": True, "encrypted": True}
    public = _public_key(leaf)
    if public is None or pem.spki(pem.private_key(keys[0]).public_key()) != pem.spki(public):
        raise refused("The private key does not belong to the first certificate: put the leaf first.")
    return {"has_private_key": True}


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
