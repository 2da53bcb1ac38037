import json
import re
from collections.abc import Callable
from hashlib import sha256
from html import unescape
from typing import Any

import cbor2
import pytest
import webauthn
from django.db import connection
from django.test import Client
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_django import Settings
from webauthn.helpers import bytes_to_base64url

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authentication import passkeys, second_factor
from environments_app.authorization.rows import access_rows
from environments_app.errors import Conflict, InvalidField
from environments_app.models import FailedSignIns, Passkey, User
from environments_app.tests.authentication.test_mfa import code_of, enrolled, is_in, password_given
from environments_app.tests.authenticator import Authenticator
from environments_app.tests.cast import PASSWORD, Cast

Events = Callable[..., list[AuditEvent]]
PARTY = passkeys.RelyingParty(host="testserver", origin="http://testserver")


def options_in(response: Any, attribute: str = "data-passkey-get") -> str:
    """Return what a page asks the browser for."""
    found = re.search(f'{attribute}="([^"]*)"', response.content.decode())
    assert found, response.content.decode()
    return unescape(found[1])


def with_passkey(cast: Cast, user: User, *, name: str = "Laptop", **device: Any) -> Authenticator:
    """Give a person who has a second factor a passkey."""
    authenticator = Authenticator(**device)
    actor = cast.principal(user)
    begun = passkeys.begin_registration(actor=actor, user=user, party=PARTY)
    passkeys.register(
        actor=actor, user=user, name=name, credential=authenticator.create(begun.options),
        challenge=begun.challenge, party=PARTY,
    )  # fmt: skip
    return authenticator


@pytest.fixture
def device(cast: Cast) -> Authenticator:
    """Alice's authenticator, registered beside her codes."""
    enrolled(cast, cast.alice)
    return with_passkey(cast, cast.alice)


def give(client: Client, answer: str) -> Any:
    return client.post("/sign-in/code", {"passkey": answer, "code": "", "next": "/secrets"})


def test_of_a_device_and_its_copy_that_answer_at_once_one_is_taken(
    cast: Cast, device: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, verify = Passkey.objects.get().user, webauthn.verify_authentication_response
    asked = passkeys.begin_sign_in(user, PARTY)
    assert asked

    def slowly(**given: Any) -> Any:
        proof = verify(**given)
        Passkey.objects.update(sign_count=proof.new_sign_count)
        return proof

    monkeypatch.setattr(webauthn, "verify_authentication_response", slowly)
    answer = device.get(asked.options)
    assert not passkeys.use_passkey(user=user, credential=answer, challenge=asked.challenge, party=PARTY)


@pytest.mark.every_database
def test_a_passkey_stands_in_for_a_code(cast: Cast, device: Authenticator, events: Events) -> None:
    client = password_given()
    asked = options_in(client.get("/sign-in/code"))
    assert not is_in(client)
    assert give(client, device.get(asked))["Location"] == "/secrets"
    assert is_in(client)
    signed_in = events(Action.SIGN_IN)[-1]
    assert json.loads(signed_in.details)["second_factor"] == "passkey"
    assert Passkey.objects.get().sign_count == 1


def test_registration_by_the_pages(cast: Cast, events: Events, signed_in: Callable[[User], Client]) -> None:
    enrolled(cast, cast.alice)
    client, device = signed_in(cast.alice), Authenticator()
    begun = client.post("/profile/passkeys/start")
    made = device.create(options_in(begun, "data-passkey-create"))
    done = client.post("/profile/passkeys/register", {"name": "YubiKey", "passkey": made})
    assert done["Location"] == "/profile/second-factor"
    assert b"YubiKey" in client.get("/profile/second-factor").content
    event = events(Action.SECOND_FACTOR_CHANGE)[-1]
    details = json.loads(event.details)
    assert (details["change"], details["passkey"]) == ("passkey added", "YubiKey")
    # The challenge was used up: the same answer makes no second one.
    again = client.post("/profile/passkeys/register", {"name": "Copy", "passkey": made})
    assert again["Location"] == "/profile/second-factor"
    assert Passkey.objects.count() == 1
    client.post("/profile/passkeys/remove", {"passkey": str(Passkey.objects.get().uuid)})
    assert not Passkey.objects.exists()
    assert json.loads(events(Action.SECOND_FACTOR_CHANGE)[-1].details)["change"] == "passkey removed"


def test_an_answer_counts_once(cast: Cast, device: Authenticator) -> None:
    client = password_given()
    answer = device.get(options_in(client.get("/sign-in/code")))
    assert give(client, answer).status_code == 302
    other = password_given()
    other.get("/sign-in/code")
    assert give(other, answer).status_code == 200
    assert not is_in(other)


def test_an_answer_to_another_session_is_refused(cast: Cast, device: Authenticator, events: Events) -> None:
    asked = options_in(password_given().get("/sign-in/code"))
    client = password_given()
    client.get("/sign-in/code")
    page = give(client, device.get(asked))
    assert b"This passkey wasn&#x27;t accepted" in page.content
    refused = events(Action.SIGN_IN)[-1]
    assert (refused.outcome, json.loads(refused.details)) == ("denied", {"reason": "second-factor"})
    assert FailedSignIns.objects.exists()


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"origin": "http://evil.example"}, id="another origin"),
        pytest.param({"host": "evil.example"}, id="another host"),
        pytest.param({"credential_id": b"x" * 32}, id="an unknown passkey"),
        pytest.param({"count": -1}, id="a count that went back"),
    ],
)
def test_what_is_not_proved_lets_nobody_in(cast: Cast, device: Authenticator, broken: dict[str, Any]) -> None:
    Passkey.objects.update(sign_count=5)
    device.count = 10
    for name, value in broken.items():
        setattr(device, name, value)
    client = password_given()
    assert give(client, device.get(options_in(client.get("/sign-in/code")))).status_code == 200
    assert not is_in(client)


def test_a_signature_over_something_else_lets_nobody_in(cast: Cast, device: Authenticator) -> None:
    client = password_given()
    asked = options_in(client.get("/sign-in/code"))
    assert give(client, device.get(asked, signed=b"something else")).status_code == 200
    assert not is_in(client)


def test_the_passkey_of_another_person_lets_nobody_in(cast: Cast, device: Authenticator) -> None:
    enrolled(cast, cast.root)
    with_passkey(cast, cast.root)
    client = password_given("root")
    give(client, device.get(options_in(client.get("/sign-in/code"))))
    assert not is_in(client)


@pytest.mark.every_database
@pytest.mark.parametrize(
    "change",
    [
        "public_key = X'00'",
        "name = 'other'",
        "relying_party = 'evil.example'",
        "user_id = (SELECT id FROM environments_app_user WHERE username = 'bob')",
    ],
)
def test_an_edited_row_is_no_passkey(cast: Cast, device: Authenticator, change: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE environments_app_passkey SET {change}")
    assert b"data-passkey-get" not in password_given().get("/sign-in/code").content
    assert [*access_rows()]


@pytest.mark.every_database
def test_what_was_removed_and_put_back_is_found(cast: Cast, device: Authenticator) -> None:
    kept = Passkey.objects.values().get()
    passkeys.remove_passkey(actor=cast.principal(cast.alice), user=cast.alice, uuid=str(kept["uuid"]))
    assert not [*access_rows()]
    Passkey(**kept).save_base(raw=True, force_insert=True)
    assert passkeys.passkeys_of(cast.alice)
    assert [*access_rows()]


def test_a_passkey_ends_with_the_second_factor(cast: Cast, device: Authenticator) -> None:
    second_factor.remove(actor=cast.principal(cast.root), user=cast.alice)
    assert not Passkey.objects.exists()
    cast.alice.refresh_from_db()
    enrolled(cast, cast.alice)
    assert passkeys.passkeys_of(cast.alice) == []


def test_without_a_second_factor_there_is_none(cast: Cast) -> None:
    with pytest.raises(Conflict, match="authenticator app first"):
        passkeys.begin_registration(actor=cast.principal(cast.alice), user=cast.alice, party=PARTY)


def test_there_is_a_most(cast: Cast, device: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passkeys, "MAX_PASSKEYS", 1)
    with pytest.raises(Conflict, match="1 passkeys"):
        passkeys.begin_registration(actor=cast.principal(cast.alice), user=cast.alice, party=PARTY)


def test_a_code_is_taken_as_before(cast: Cast) -> None:
    secret, _ = enrolled(cast, cast.alice)
    with_passkey(cast, cast.alice)
    client = password_given()
    client.get("/sign-in/code")
    assert client.post("/sign-in/code", {"code": code_of(secret, ahead=1), "next": ""}).status_code == 302


def test_the_own_password_is_confirmed_with_a_passkey(
    cast: Cast, device: Authenticator, signed_in: Callable[[User], Client]
) -> None:
    client = signed_in(cast.alice)
    answer = device.get(options_in(client.get("/confirm")))
    wrong = client.post("/confirm", {"password": "wrong", "code": "", "passkey": answer})
    assert wrong.status_code == 422
    answer = device.get(options_in(wrong))
    done = client.post("/confirm", {"password": PASSWORD, "code": "", "passkey": answer})
    assert done.status_code == 302


def test_a_challenge_is_answered_once(
    cast: Cast, device: Authenticator, signed_in: Callable[[User], Client]
) -> None:
    client = signed_in(cast.alice)
    asked = options_in(client.get("/confirm"))
    for status in (302, 422):
        # A new signature each time, which counts on: no copy of the first.
        answer = {"password": PASSWORD, "code": "", "passkey": device.get(asked)}
        assert client.post("/confirm", answer).status_code == status


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_ip_address_has_none(cast: Cast, device: Authenticator, host: str, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["testserver", host]
    client = password_given()
    page = client.get("/sign-in/code", headers={"host": host})
    assert page.status_code == 200
    assert b"data-passkey-get" not in page.content


def test_only_the_address_of_keeper_has_them(cast: Cast, device: Authenticator, settings: Settings) -> None:
    settings.KEEPER_URL = "https://keeper.example.com"
    assert b"data-passkey-get" not in password_given().get("/sign-in/code").content
    settings.KEEPER_URL = "http://testserver"
    assert b"data-passkey-get" in password_given().get("/sign-in/code").content


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
)
ENCODED = st.binary(max_size=120).map(bytes_to_base64url)
CBOR = JSON.map(cbor2.dumps).map(bytes_to_base64url)
CLIENT_DATA = (JSON | st.dictionaries(st.sampled_from(["type", "challenge", "origin"]), JSON)).map(
    lambda content: bytes_to_base64url(json.dumps(content).encode())
)
RESPONSE = st.fixed_dictionaries(
    {
        "clientDataJSON": CLIENT_DATA | ENCODED | JSON,
        "authenticatorData": ENCODED | JSON,
        "signature": ENCODED | JSON,
        "attestationObject": CBOR | ENCODED | JSON,
        "userHandle": ENCODED | JSON,
    }
)
ANSWER = (
    st.text(max_size=200)
    | JSON.map(json.dumps)
    | st.fixed_dictionaries(
        {"id": st.just("AAAA") | JSON, "rawId": st.just("AAAA") | JSON, "type": st.just("public-key") | JSON},
        optional={"response": RESPONSE | JSON},
    ).map(json.dumps)
)


def nested(part: str, opens: bytes) -> str:
    """Return an answer with a part that opens lists and ends none."""
    parts = dict.fromkeys(("clientDataJSON", "authenticatorData", "signature", "attestationObject"), "AAAA")
    response = parts | {part: bytes_to_base64url(opens * 10_000)}
    return json.dumps({"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": response})


@example(answer="")
@example(answer="null")
@example(answer='{"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": null}')
@example(answer="[" * 10_000)
@example(answer=nested("clientDataJSON", b"["))
@given(answer=ANSWER)
def test_no_answer_of_a_browser_breaks_a_sign_in(answer: str) -> None:
    user = User(username="nobody")
    known = Passkey(
        user=user, handle=sha256(bytes(3)).hexdigest(), public_key=b"", relying_party="testserver"
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passkeys, "passkeys_of", lambda _: [known])
        assert not passkeys.use_passkey(user=user, credential=answer, challenge=b"c" * 32, party=PARTY)
        patched.setattr(Passkey.objects, "select_related", lambda _: Passkey.objects.none())
        assert passkeys.owner_of(answer) is None


@example(answer="")
@example(answer="\x00")
@example(answer='{"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": {}}')
@example(answer="[" * 10_000)
@example(answer=nested("clientDataJSON", b"["))
@example(answer=nested("attestationObject", b"\x81"))
@given(answer=ANSWER)
def test_no_answer_of_a_browser_breaks_a_registration(answer: str) -> None:
    with pytest.raises(InvalidField):
        passkeys._verified_registration(answer, b"c" * 32, PARTY)


@pytest.mark.parametrize("field", ["clientDataJSON", "authenticatorData", "signature"])
@given(data=st.data())
def test_a_genuine_answer_with_one_part_replaced_proves_nothing(field: str, data: st.DataObject) -> None:
    device, challenge = Authenticator(), b"c" * 32
    options = json.dumps({"challenge": bytes_to_base64url(challenge), "user": {"id": ""}})
    made = passkeys._verified_registration(device.create(options), challenge, PARTY)
    user = User(username="nobody")
    known = Passkey(
        user=user, handle=sha256(device.credential_id).hexdigest(), public_key=made.credential_public_key,
        relying_party="testserver",
    )  # fmt: skip
    answer = json.loads(device.get(options))
    answer["response"][field] = data.draw(ENCODED | CBOR | CLIENT_DATA | JSON)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passkeys, "passkeys_of", lambda _: [known])
        assert not passkeys.use_passkey(
            user=user, credential=json.dumps(answer), challenge=challenge, party=PARTY
        )
