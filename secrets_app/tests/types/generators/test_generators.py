"""Every generator: what it makes is valid, its options are bounded, and nothing shows the value."""

import json
import re
import uuid
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from secrets_app.errors import InvalidOption, InvalidValue
from secrets_app.types.generators.registry import (
    DEFAULT_KINDS,
    GENERATORS,
    Generator,
    Option,
    generate,
    kind_for,
)
from secrets_app.types.registry import SecretType, inspect

SLOW = {"rsa-3072", "rsa-4096"}
DNS_NAMES = st.from_regex(r"[a-z]{1,10}(\.[a-z]{1,10}){0,3}", fullmatch=True)
TEXTS = {
    "symbol_set": st.text("!-_.+", min_size=1, max_size=10),
    "prefix": st.text("abcXYZ019_.-", max_size=32),
    "common_name": DNS_NAMES.filter(lambda name: len(name) <= 64),
    "sans": st.lists(DNS_NAMES | st.sampled_from(["10.0.0.1", "::1", "*.example.com"]), max_size=5),
}


def values(option: Option) -> st.SearchStrategy[Any]:
    if option.name in TEXTS:
        return TEXTS[option.name]
    if option.kind == "integer":
        return st.integers(option.minimum, option.maximum)
    if option.kind == "boolean":
        return st.booleans()
    if option.kind == "choice":
        return st.sampled_from([choice for choice in option.choices if choice not in SLOW])
    return st.text(
        st.characters(min_codepoint=32, max_codepoint=126), min_size=option.minimum or 0, max_size=50
    )


def options(generator: Generator) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={option.name: values(option) for option in generator.options})


@pytest.mark.parametrize("kind", GENERATORS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_it_makes_values_that_its_type_accepts(kind: str, data: st.DataObject) -> None:
    given_options = data.draw(options(GENERATORS[kind]))
    if kind == "password":
        given_options["lowercase"] = True  # one class must be chosen
    generated = generate(kind, given_options)
    assert generated.secret_type is GENERATORS[kind].secret_type
    inspect(generated.secret_type, generated.value)
    assert generated.value not in repr(generated)


@pytest.mark.parametrize("kind", GENERATORS)
def test_it_describes_its_options_for_forms(kind: str) -> None:
    generator = GENERATORS[kind]
    assert generator.kind == kind
    assert generator.label
    names = [option.name for option in generator.options]
    assert len(set(names)) == len(names)
    for option in generator.options:
        assert option.label
        assert option.checked(option.default) == option.default
        assert bool(option.choices) is (option.kind == "choice")
        if option.kind != "boolean" and not option.choices:
            assert option.maximum is not None


@pytest.mark.parametrize("kind", GENERATORS)
def test_it_makes_another_value_each_time(kind: str) -> None:
    assert len({generate(kind, {}).value for _ in range(5)}) == 5


WRONG: dict[str, list[object]] = {
    "integer": ["12", 12.0, True, None, [12]],
    "boolean": ["true", 1, None],
    "choice": ["hunter2", 1, None, ["a"]],
    "text": [1, None, ["a"], "hunter2\n", "hunter2\0", "é"],
    "list": ["hunter2", None, [1], [None], {"a": 1}],
}


@pytest.mark.parametrize("kind", GENERATORS)
def test_it_refuses_options_of_the_wrong_kind_and_out_of_bounds(kind: str) -> None:
    for option in GENERATORS[kind].options:
        wrong: list[object] = list(WRONG[option.kind])
        for bound, beyond in ((option.minimum, -1), (option.maximum, 1)):
            if bound is not None:
                size = bound + beyond
                wrong.append({"integer": size, "text": "a" * size, "list": ["a"] * size}[option.kind])
        for value in wrong:
            with pytest.raises(InvalidOption) as caught:
                generate(kind, {option.name: value})
            assert caught.value.field == option.name
            assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("kind", GENERATORS)
def test_it_refuses_an_unknown_option(kind: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        generate(kind, {"hunter2": 1})
    assert caught.value.field == "options"
    assert "hunter2" not in str(caught.value)


def test_it_refuses_an_unknown_kind() -> None:
    with pytest.raises(InvalidOption, match="Choose one of password, passphrase") as caught:
        generate("hunter2", {})
    assert caught.value.field == "kind"


@pytest.mark.parametrize(
    ("encoding", "pattern"),
    [("base62", r"x_[0-9A-Za-z]{43}"), ("base64url", r"x_[\w-]{43}"), ("hex", r"x_[0-9a-f]{64}")],
)
def test_it_encodes_api_keys_after_a_prefix(encoding: str, pattern: str) -> None:
    generated = generate("api_key", {"prefix": "x_", "encoding": encoding})
    assert re.fullmatch(pattern, generated.value, re.ASCII)
    assert generated.entropy_bits == 256


def test_it_refuses_a_prefix_that_headers_would_not_carry() -> None:
    with pytest.raises(InvalidOption, match="prefix"):
        generate("api_key", {"prefix": "a b"})


def test_it_makes_version_four_uuids() -> None:
    parsed = uuid.UUID(generate("uuid", {}).value)
    assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)


@pytest.mark.parametrize(
    ("algorithm", "facts"),
    [
        ("ed25519", ("Ed25519", 256)),
        ("ecdsa-p256", ("ECDSA", 256)),
        ("ecdsa-p384", ("ECDSA", 384)),
        ("ecdsa-p521", ("ECDSA", 521)),
        ("rsa-3072", ("RSA", 3072)),
    ],
)
def test_it_publishes_the_public_half_of_an_ssh_key(algorithm: str, facts: tuple[str, int]) -> None:
    generated = generate("ssh_key", {"algorithm": algorithm, "comment": "deploy key"})
    assert generated.public is not None
    private, public = (inspect(SecretType.SSH_KEY, text) for text in (generated.value, generated.public))
    assert private["fingerprint"] == public["fingerprint"]
    assert (public["algorithm"], public["bits"]) == facts
    assert (public["has_private"], public["comment"]) == (False, "deploy key")


def test_it_makes_a_self_signed_certificate_with_its_key() -> None:
    generated = generate(
        "certificate", {"common_name": "a.example", "sans": ["b.example", "10.0.0.1", "b.example"], "days": 7}
    )
    facts = inspect(SecretType.CERTIFICATE, generated.value)
    assert facts["sans"] == ["b.example", "10.0.0.1"]
    assert facts["has_private_key"] is True
    assert generated.public is not None
    assert "PRIVATE" not in generated.public
    certificate = x509.load_pem_x509_certificate(generated.public.encode())
    certificate.verify_directly_issued_by(certificate)
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 7


def test_it_makes_a_request_for_its_key() -> None:
    generated = generate("csr", {"common_name": "a.example"})
    assert generated.public is not None
    request = x509.load_pem_x509_csr(generated.public.encode())
    key = serialization.load_pem_private_key(generated.value.encode(), None)
    assert request.is_signature_valid
    assert request.public_key() == key.public_key()
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]


@pytest.mark.parametrize("kind", ["certificate", "csr"])
@pytest.mark.parametrize(
    "name", ["a b", "-a", "a..b", "a.*.b", "a/b", "x" * 64 + ".example", "10.0.0.256/8", ""]
)
def test_it_refuses_alternative_names_that_no_client_matches(kind: str, name: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        generate(kind, {"sans": [name]})
    assert caught.value.field == "sans"


def test_it_makes_a_database_credential_in_the_convention_of_aws() -> None:
    credential = json.loads(generate("json", {"engine": "mariadb", "username": 'o"brien'}).value)
    assert list(credential) == ["engine", "host", "port", "username", "password", "dbname"]
    assert (credential["engine"], credential["port"], credential["username"]) == ("mariadb", 3306, 'o"brien')
    assert re.fullmatch(r"[A-Za-z0-9._~-]{32}", credential["password"])
    assert json.loads(generate("json", {"port": 15432}).value)["port"] == 15432


@pytest.mark.parametrize("secret_type", DEFAULT_KINDS)
def test_it_chooses_a_kind_that_makes_the_type(secret_type: SecretType) -> None:
    assert GENERATORS[kind_for(None, secret_type)].secret_type is secret_type


def test_it_chooses_by_kind_first() -> None:
    assert kind_for("API-Key", None) == "api_key"
    assert kind_for("passphrase", "password") == "passphrase"
    assert kind_for(None, None) == "password"


@pytest.mark.parametrize(
    ("kind", "secret_type", "field"),
    [("hunter2", None, "kind"), ("uuid", "PASSWORD", "secret_type"), (None, "YAML", "secret_type")],
)
def test_it_refuses_a_choice_that_makes_no_sense(kind: str | None, secret_type: str, field: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        kind_for(kind, secret_type)
    assert caught.value.field == field


def test_it_refuses_a_type_that_does_not_exist() -> None:
    with pytest.raises(InvalidValue):
        kind_for(None, "hunter2")
