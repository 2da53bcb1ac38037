import pytest

from secrets_app.importing.plan import guess_type
from secrets_app.types.generators.registry import generate
from secrets_app.types.registry import SecretType


@pytest.mark.parametrize(
    ("name", "value", "guessed"),
    [
        ("DB_PASSWORD", "x", SecretType.PASSWORD),
        ("app/smtp-pwd", "x", SecretType.PASSWORD),
        ("STRIPE_API_KEY", "sk_1", SecretType.API_KEY),
        ("ci/token", "t", SecretType.API_KEY),
        ("password/host", "db", SecretType.TEXT),
        ("KEYBOARD", "de", SecretType.TEXT),
        ("CONFIG", '{"a": 1}', SecretType.JSON),
        ("CONFIG", "{broken", SecretType.TEXT),
        # It would be refused as an API key.
        ("API_KEY", " spaced ", SecretType.TEXT),
        ("DB_PASSWORD", '{"a": 1}', SecretType.JSON),
    ],
)
def test_it_guesses_by_content_then_by_name(name: str, value: str, guessed: SecretType) -> None:
    assert guess_type(name, value) is guessed


@pytest.mark.parametrize(
    ("kind", "options", "guessed"),
    [
        ("ssh_key", {}, SecretType.SSH_KEY),
        ("certificate", {"common_name": "keeper.example"}, SecretType.CERTIFICATE),
    ],
)
def test_it_knows_keys_and_certificates(kind: str, options: dict[str, object], guessed: SecretType) -> None:
    assert guess_type("X", generate(kind, options).value) is guessed
