"""Credentials that reach a log line in spite of everything are taken out of it."""

import pytest

from keeper_project.observability.redaction import redact

SECRET = "vM3Zq_1kd-93jfWq0x7pLs8aTnR2bYcUeGhIoKlMnPq"
TOKEN = f"kpr_AbCdEfGhIjKlMnOpQrStUv_{SECRET}"


@pytest.mark.parametrize(
    "line",
    [
        TOKEN,
        f"token {TOKEN} was refused",
        f'{{"message": "GET /?t={TOKEN}"}}',
        f"Authorization: Bearer {SECRET}",
        f'{{"Authorization": "Bearer {SECRET}"}}',
        f"{{'authorization': 'Basic {SECRET}'}}",
        f'"{{\\"authorization\\": \\"{SECRET}\\"}}"',
        f"authorization=AWS4-HMAC-SHA256 Credential=a, Signature={SECRET}",
        f"('Authorization', '{SECRET}')",
        f"X-Vault-Token: {SECRET}",
        f"Cookie: a=b; sessionid={SECRET}",
        f"sent bearer {SECRET}",
        f"cannot reach mysql://keeper:{SECRET}@database/keeper",
        f'{{"broker": "redis://:{SECRET}@redis:6379/0"}}',
        *(f"login with {kind}.{SECRET}" for kind in ("hvs", "hvb", "hvr")),
        f"-----BEGIN EC PRIVATE KEY-----\\n{SECRET}\\n-----END EC PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n",
        f"Not Found: /shared/{SECRET}",
        f"https://keeper.example.com/set-password#{SECRET}",
        f"GET /sign-in?next=%2Fset-password%23{SECRET} 302",
        f'{{"message": "Forbidden (CSRF cookie not set.): /keeper/shared/{SECRET}"}}',
        f"GET /sign-in?next=%2Fshared%2F{SECRET} 302",
        f"GET /sign-in?next=%2fshared%2f{SECRET} 302",
        f"Not Found: /shared#{SECRET}",
        f"Not Found: /shared%23{SECRET}",
        f"Not Found: /shared/%2523{SECRET}",
        f"GET /sign-in?next=%2Fshared%252523{SECRET} 302",
        f"GET /confirm?next=%2Fsign-in%3Fnext%3D%252Fshared%252F{SECRET} 302",
    ],
)
def test_it_takes_credentials_out(line: str) -> None:
    assert SECRET not in redact(line)
    assert "[redacted]" in redact(line)


def test_it_keeps_the_public_id_of_a_token() -> None:
    assert redact(f"{TOKEN} expired") == "kpr_AbCdEfGhIjKlMnOpQrStUv_[redacted] expired"


def test_it_keeps_the_rest_of_an_address() -> None:
    line = f"mysql://keeper:{SECRET}@database/keeper at https://keeper.example.com:8443/a@b"
    assert redact(line) == "mysql://keeper:[redacted]@database/keeper at https://keeper.example.com:8443/a@b"


def test_it_keeps_the_page_that_a_link_leads_to() -> None:
    assert redact(f"Not Found: /shared/{SECRET}") == "Not Found: /shared/[redacted]"


def test_it_takes_a_piece_of_a_token_out() -> None:
    assert redact(f"kpr_{SECRET[:16]}") == "kpr_[redacted]"


def test_it_keeps_what_follows_on_the_next_line() -> None:
    assert redact(f"Authorization: Bearer {SECRET}\nHost: keeper").endswith("\nHost: keeper")


@pytest.mark.parametrize(
    "line",
    [
        "a plain line",
        "filesystem://:**@localhost//",
        "the basic idea",
        "authorization failed",
        "kpr_",
        "/shared/",
        "42",
    ],
)
def test_it_leaves_other_text_alone(line: str) -> None:
    assert redact(line) == line
