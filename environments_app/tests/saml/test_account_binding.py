"""Whose account an answer of the identity provider opens, and when it opens none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from environments_app.authorization.principals import system_principal
from environments_app.errors import NameInUse, SignOnRefused, SignOnUnavailable
from environments_app.models import User
from environments_app.saml import configuration
from environments_app.saml import configuration as key_pair
from environments_app.saml.endpoints import answer_of
from environments_app.saml.metadata import described
from environments_app.saml.protocol.assertion_rules import Statement
from environments_app.single_sign_on import account_binding
from environments_app.tests.cast import Cast
from environments_app.users import accounts

pytestmark = pytest.mark.django_db
IDP = "https://idp.example.com/saml"
SAID = Statement(
    response_id="r", assertion_id="a", in_response_to="q", issuer=IDP, name_id="dora@example.com",
    name_id_format="", session_index="", signed_in_at=0, session_ends_at=None,
    attributes={"email": ["dora@example.com"], "displayName": ["Dora"]},
)  # fmt: skip
KEEPER = system_principal(is_admin=True)


def subject_user(statement: Statement) -> User:
    return account_binding.subject_user(answer_of(statement).vouched, actor=KEEPER)


def refusal(statement: Statement) -> str:
    before = list(User.objects.values())
    with pytest.raises(SignOnRefused) as refused:
        subject_user(statement)
    assert list(User.objects.values()) == before
    return refused.value.reason


def test_an_account_is_made_once_and_only_where_that_is_allowed(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_SAML_CREATE_USERS = False
    assert refusal(SAID) == "saml-unknown"
    settings.KEEPER_SAML_CREATE_USERS = True
    made = subject_user(SAID)
    assert (made.saml_issuer, made.has_usable_password()) == (IDP, False)
    settings.KEEPER_SAML_CREATE_USERS = False
    assert subject_user(SAID) == made


def test_another_name_or_issuer_is_another_person(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_SAML_CREATE_USERS = True
    made = subject_user(SAID)
    assert refusal(replace(SAID, issuer="https://other.example.com")) == "saml-name-taken"
    other = subject_user(replace(SAID, name_id="erik@example.com"))
    assert other != made
    # A local account is not handed over, in whatever spelling its name is asserted.
    for name in ("alice", "ALICE", "Ａlice"):
        assert refusal(replace(SAID, name_id=name)) == "saml-name-taken"
    assert refusal(replace(SAID, name_id="а" * 5)) == "saml-username"


@pytest.mark.parametrize("change", ["disabled", "edited"])
def test_an_account_that_is_off_or_edited_is_not_opened(cast: Cast, settings: Settings, change: str) -> None:
    settings.KEEPER_SAML_CREATE_USERS = True
    made = subject_user(SAID)
    if change == "disabled":
        made.is_active = False
        made.save()
    else:
        User.objects.filter(pk=made.pk).update(role="admin")
    assert refusal(SAID) == "saml-account"


def test_of_two_windows_that_sign_in_first_both_get_the_same_account(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEEPER_SAML_CREATE_USERS = True
    create = accounts.create_provider_user

    def late(**given: Any) -> User:
        create(**given)
        raise NameInUse("taken")

    with monkeypatch.context() as patched:
        patched.setattr(accounts, "create_provider_user", late)
        made = subject_user(SAID)
    assert made == User.objects.get(saml_issuer=IDP)

    def stolen(**given: Any) -> User:
        User.objects.create_user("frieda@example.com")
        raise NameInUse("taken")

    monkeypatch.setattr(accounts, "create_provider_user", stolen)
    with pytest.raises(SignOnRefused) as refused:
        subject_user(replace(SAID, name_id="frieda@example.com"))
    assert refused.value.reason == "saml-name-taken"


def test_what_is_no_address_and_no_name_is_not_kept(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_SAML_CREATE_USERS = True
    odd = {"email": ["nobody"], "displayName": ["x" * 400]}
    made = subject_user(replace(SAID, attributes=odd))
    assert (made.email, made.display_name) == ("", "")


def test_of_two_processes_that_make_a_key_pair_one_does(tmp_path: Path) -> None:
    key, certificate = tmp_path / "saml.key", tmp_path / "saml.crt"
    key.write_bytes(b"of the other process")
    key_pair._make(key, certificate)
    assert key.read_bytes() == b"of the other process"
    assert not certificate.exists()
    assert list(tmp_path.iterdir()) == [key]


def test_metadata_without_a_key_that_signs_is_refused() -> None:
    with pytest.raises(SignOnUnavailable, match="no signing certificate"):
        described(
            '<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="i"><IDPSSODescriptor/>'
            "</EntityDescriptor>"
        )


def test_the_provider_is_one_and_takes_redirects() -> None:
    class Metadata:
        def __init__(self, names: list[str], bindings: dict[str, Any]) -> None:
            self.names, self.bindings = names, bindings

        def with_descriptor(self, _role: str) -> list[str]:
            return self.names

        def service(self, *_given: str) -> dict[str, Any]:
            return self.bindings

    class Config:
        def __init__(self, *given: Any) -> None:
            self.metadata = Metadata(*given)

    redirect: dict[str, Any] = {"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect": []}
    assert configuration.provider_id(Config([IDP], redirect)) == IDP
    for names, bindings in (([], redirect), ([IDP, "other"], redirect), ([IDP], {"post": []})):
        with pytest.raises(SignOnUnavailable):
            configuration.provider_id(Config(names, bindings))


def test_without_xmlsec1_there_is_no_single_sign_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _program: None)
    with pytest.raises(SignOnUnavailable, match="xmlsec1"):
        configuration._loaded("<x/>", "https://keeper.example.com", "", "key", "certificate")
