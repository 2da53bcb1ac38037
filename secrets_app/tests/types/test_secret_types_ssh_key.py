"""SSH keys, compared with what OpenSSH itself says where it is installed."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519

from secrets_app.tests.der import der_key, dsa_key, rsa_key
from secrets_app.tests.refusals import refuse
from secrets_app.types.registry import SecretType, inspect

# Made by `ssh-keygen -t ed25519 -C alice@example.com` for this test alone; OpenSSH gave the fingerprint.
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAJYoH4pNbOkzsU4wTzh7NKP4Onwo0lc1LWTMseJCLqA alice@example.com"
PRIVATE = """\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACACWKB+KTWzpM7FOME84ezSj+Dp8KNJXNS1kzLHiQi6gAAAAJhVDydEVQ8n
RAAAAAtzc2gtZWQyNTUxOQAAACACWKB+KTWzpM7FOME84ezSj+Dp8KNJXNS1kzLHiQi6gA
AAAED7ZKSkTEHgJeCqUvT8op2C7PRj4SPeSf1tylD4Rrk95QJYoH4pNbOkzsU4wTzh7NKP
4Onwo0lc1LWTMseJCLqAAAAAEWFsaWNlQGV4YW1wbGUuY29tAQIDBA==
-----END OPENSSH PRIVATE KEY-----
"""
FINGERPRINT = "SHA256:E6ZBOvvOrNnXDxE6vD39aFpc1I0Aah//4nAsqCZ8FsQ"

ENCODINGS = {
    "PKCS8": serialization.PrivateFormat.PKCS8,
    "PEM": serialization.PrivateFormat.TraditionalOpenSSL,
    "OpenSSH": serialization.PrivateFormat.OpenSSH,
}


def pem(key: object, encoding: str = "PKCS8", password: bytes | None = None) -> str:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, ENCODINGS[encoding], encryption).decode()  # type: ignore[attr-defined, no-any-return]


def armor(label: str, content: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(content).decode()}-----END {label}-----\n"


def content(text: str) -> bytes:
    return base64.b64decode("".join(text.splitlines()[1:-1]))


def test_it_knows_the_published_fingerprint() -> None:
    facts = {"algorithm": "Ed25519", "bits": 256, "fingerprint": FINGERPRINT, "comment": "alice@example.com"}
    assert inspect(SecretType.SSH_KEY, PUBLIC) == facts | {"has_private": False}
    assert inspect(SecretType.SSH_KEY, PRIVATE) == facts | {"has_private": True}
    assert inspect(SecretType.SSH_KEY, PRIVATE.replace("\n", "\r\n")) == facts | {"has_private": True}


@pytest.mark.parametrize("passphrase", ["", "correct horse"])
@pytest.mark.parametrize(
    "arguments",
    [
        "-t ed25519",
        "-t rsa -b 2048",
        "-t ecdsa -b 256",
        "-t ecdsa -b 384",
        "-t ecdsa -b 521",
        "-t rsa -b 2048 -m PEM",
        "-t ecdsa -m PKCS8",
    ],
)
def test_it_agrees_with_openssh(arguments: str, passphrase: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    command = ["ssh-keygen", "-q", *arguments.split(), "-N", passphrase, "-C", "bob at work", "-f", str(file)]
    subprocess.run(command, check=True)
    listed = subprocess.run(["ssh-keygen", "-lf", f"{file}.pub"], check=True, capture_output=True, text=True)
    bits, fingerprint, _rest = listed.stdout.split(" ", 2)
    public = inspect(SecretType.SSH_KEY, Path(f"{file}.pub").read_text())
    assert (public["bits"], public["fingerprint"]) == (int(bits), fingerprint)
    assert public["comment"] == "bob at work"
    private = inspect(SecretType.SSH_KEY, file.read_text())
    assert private["has_private"] is True
    assert private.get("encrypted", False) is bool(passphrase)
    if not (passphrase and "-m" in arguments):  # an encrypted PEM file says nothing about its key
        assert private["fingerprint"] == fingerprint
    if "-m" not in arguments and not passphrase:
        assert private["comment"] == "bob at work"


def test_it_tells_nothing_private() -> None:
    numbers = ed25519.Ed25519PrivateKey.generate()
    seed = numbers.private_bytes_raw()
    facts = json.dumps(inspect(SecretType.SSH_KEY, pem(numbers, "OpenSSH")))
    assert base64.b64encode(seed).decode().rstrip("=") not in facts
    assert seed.hex() not in facts


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("hunter2", "not an SSH key"),
        ("ssh-ed25519", "not an SSH key"),
        ("ssh-ed25519 hunter2!", "not an SSH key"),
        ("ssh-ed25519 aHVudGVyMg==", "cannot be read"),
        (PUBLIC.replace("ssh-ed25519", "ssh-rsa"), "cannot be read"),
        (PUBLIC.replace("ssh-ed25519", "ssh-dss"), "unsupported kind"),
        (PUBLIC + "\n" + PUBLIC, "nor one public key line"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nhunter2", "PuTTY"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nhunter2", "SSH2"),
        (PRIVATE[:200], "no end line"),
        (PRIVATE + PRIVATE, "more than one"),
        (PRIVATE + "hunter2", "more than one private key"),
        ("hunter2\n" + PRIVATE, "nothing around it"),
        (armor("OPENSSH PRIVATE KEY", b"hunter2"), "cannot be read"),
        (armor("OPENSSH PRIVATE KEY", b"openssh-key-v1\0hunter2"), "cannot be read"),
        (armor("OPENSSH PRIVATE KEY", content(PRIVATE)[:-60]), "cannot be read"),
        (armor("PRIVATE KEY", b"hunter2"), "unsupported kind"),
        (armor("RSA PRIVATE KEY", b"hunter2"), "cannot be read"),
        (armor("ENCRYPTED PRIVATE KEY", b"hunter2"), "not an encrypted private key"),
        (armor("CERTIFICATE", b"hunter2"), "not a private key"),
        (armor("DSA PRIVATE KEY", b"hunter2"), "not a private key"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2!!\n-----END PRIVATE KEY-----", "not valid Base64"),
        ("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", "not valid Base64"),
        ("-----BEGIN PRIVATE KEY-----\n" * 2_000, "no end line"),
    ],
)
def test_it_refuses_what_is_not_one_key(value: str, hint: str) -> None:
    refuse(SecretType.SSH_KEY, value, hint)


def test_it_refuses_keys_that_ssh_does_not_use() -> None:
    refuse(SecretType.SSH_KEY, pem(x25519.X25519PrivateKey.generate()), "unsupported kind")
    refuse(SecretType.SSH_KEY, pem(ec.generate_private_key(ec.SECP256K1())), "unsupported kind")
    refuse(SecretType.SSH_KEY, pem(ed448.Ed448PrivateKey.generate()), "unsupported kind")


@pytest.mark.parametrize(
    ("comment", "shown"),
    [("alice", "alice"), ("a" * 300, "a" * 255), ("\x1b[2Jalice", None), ("a\u202eb", None)],
    ids=lambda text: repr(text)[:12],
)
def test_a_comment_is_shown_as_far_as_a_list_can_show_it(comment: str, shown: str | None) -> None:
    line = PUBLIC.replace("alice@example.com", comment)
    assert inspect(SecretType.SSH_KEY, line).get("comment") == shown


def container(size: int) -> bytes:
    """Return an encrypted container of a key, with so much in its private part."""
    public = base64.b64decode(PUBLIC.split()[1])
    fields = (b"aes256-ctr", b"bcrypt", b"options", public, b"x" * size)
    parts = [len(field).to_bytes(4) + field for field in fields]
    return b"".join((b"openssh-key-v1\0", *parts[:3], (1).to_bytes(4), *parts[3:]))


def test_an_encrypted_container_is_whole_and_no_larger_than_a_key() -> None:
    whole = container(100)
    assert inspect(SecretType.SSH_KEY, armor("OPENSSH PRIVATE KEY", whole))["encrypted"] is True
    for wrong in (container(14_000), *(whole[:length] for length in range(15, len(whole), 7))):
        refuse(SecretType.SSH_KEY, armor("OPENSSH PRIVATE KEY", wrong), "cannot be read")


def test_an_encrypted_key_is_one_sequence_and_nothing_behind_it() -> None:
    text = pem(ed25519.Ed25519PrivateKey.generate(), "PKCS8", b"abc")
    assert inspect(SecretType.SSH_KEY, text)["encrypted"] is True
    for wrong in (content(text) + b"hunter2", content(text)[:-1]):
        refuse(SecretType.SSH_KEY, armor("ENCRYPTED PRIVATE KEY", wrong), "not an encrypted private key")


def test_it_refuses_halves_that_do_not_belong_together() -> None:
    one, other = (content(pem(ed25519.Ed25519PrivateKey.generate(), "OpenSSH")) for _ in range(2))
    public = one.index(b"ssh-ed25519") + 15
    mixed = one[:public] + other[public : public + 32] + one[public + 32 :]
    refuse(SecretType.SSH_KEY, armor("OPENSSH PRIVATE KEY", mixed), "The ")


def test_it_refuses_an_rsa_key_whose_numbers_do_not_belong_together() -> None:
    numbers = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_numbers()
    good = rsa_key(numbers.public_numbers.n, 65537, numbers.d, numbers.p, numbers.q)
    assert inspect(SecretType.SSH_KEY, armor("RSA PRIVATE KEY", good))["bits"] == 2048
    n, d, p, q = numbers.public_numbers.n, numbers.d, numbers.p, numbers.q
    # Without a factor; and each of the last two is right for one of the factors alone.
    for wrong in (
        (n, d + 2, p, q), (n, d, p + 2, q), (n + 2, d, p, q), (n, d, 1, n), (n, d, n, 1),
        (n, d + p - 1, p, q), (n, d + q - 1, p, q),
    ):  # fmt: skip
        modulus, exponent, *factors = wrong
        damaged = rsa_key(modulus, 65537, exponent, *factors)
        refuse(SecretType.SSH_KEY, armor("RSA PRIVATE KEY", damaged), "The ")


@pytest.mark.parametrize("size", [2_000, 6_000])
def test_it_refuses_a_dsa_key_before_openssl_tests_its_primes(size: int) -> None:
    refuse(SecretType.SSH_KEY, armor("PRIVATE KEY", dsa_key(size)), "unsupported kind")
    refuse(SecretType.SSH_KEY, armor("RSA PRIVATE KEY", dsa_key(size)), "cannot be read")
    refuse(SecretType.SSH_KEY, armor("EC PRIVATE KEY", dsa_key(size)), "cannot be read")


@pytest.mark.parametrize(("size", "hint"), [(2_100, "more than 16,384 bits"), (8_000, "larger than RSA")])
def test_it_refuses_an_rsa_key_too_large_to_work_with(size: int, hint: str) -> None:
    factor = 1 << (8 * size // 2 - 1) | 1
    inner = rsa_key(factor * factor, 65537, 3, factor, factor)
    refuse(SecretType.SSH_KEY, armor("PRIVATE KEY", der_key("2a864886f70d010101", inner)), hint)
    refuse(SecretType.SSH_KEY, armor("RSA PRIVATE KEY", inner), hint)
    blob = b"".join(
        len(field).to_bytes(4) + field
        for field in (b"ssh-rsa", b"\1\0\1", b"\0" + (factor * factor | 1).to_bytes(size))
    )
    refuse(SecretType.SSH_KEY, f"ssh-rsa {base64.b64encode(blob).decode()}", "The ")


def test_it_takes_the_other_formats_of_private_keys() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    facts = [inspect(SecretType.SSH_KEY, pem(key, encoding)) for encoding in ENCODINGS]
    assert facts[0] == facts[1] == facts[2]
    assert inspect(SecretType.SSH_KEY, pem(key, "PKCS8", b"abc")) == {"has_private": True, "encrypted": True}
    assert inspect(SecretType.SSH_KEY, pem(key, "PEM", b"abc")) == {"has_private": True, "encrypted": True}
