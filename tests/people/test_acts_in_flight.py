"""A session ends while a request of it is on its way: it changes nothing of how its person signs in."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from django.conf import settings
from django.contrib.auth import update_session_auth_hash
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit_app.events.actions import Action, Outcome
from audit_app.models import AuditEvent
from environments_app import middleware
from environments_app.authentication import drf, passkeys, second_factor, sign_in
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal, user_principal
from environments_app.authorization.rows import lock_authentic
from environments_app.errors import SessionEnded
from environments_app.models import (
    ConnectedSignIn,
    DeviceSignIn,
    Passkey,
    PersonalSettings,
    PersonalToken,
    SecondFactor,
    Session,
    User,
)
from environments_app.sessions import service
from environments_app.single_sign_on import connected
from environments_app.single_sign_on.account_binding import subject_user
from environments_app.tests.authentication.test_mfa import code_of, enrolled
from environments_app.tests.authentication.test_passkeys import PARTY, with_passkey
from environments_app.tests.authenticator import Authenticator
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens import device, loopback, personal, scim_clients
from environments_app.users import accounts, handing_over
from environments_app.users.password_links import choose_reset
from environments_app.users.preferences import choose_time_zone
from environments_app.views import profile
from tests.people.test_scim import Scim, vouched

pytestmark = pytest.mark.django_db

NEW = "a-wholly-new-passphrase"
Events = Callable[..., list[AuditEvent]]


class Own(NamedTuple):
    """A person with a session: the account as it is stored, and who acts by it."""

    cast: Cast
    user: User
    actor: Principal


Act = Callable[[Own], Callable[[], object]]


def _own(cast: Cast) -> Own:
    Client().force_login(User.objects.get(pk=cast.alice.pk))
    user = User.objects.get(pk=cast.alice.pk)
    key = Session.objects.get(user=user).session_key
    return Own(cast, user, replace(user_principal(user).proven(), session=key))


def _again(own: Own) -> Own:
    """Return the same with a session that began after the account changed."""
    Session.objects.all().delete()
    return _own(own.cast)


def _with_factor(own: Own) -> Own:
    enrolled(own.cast, own.user)
    return _again(own)


def _offer() -> connected.Offer:
    return connected.Offer(issuer="oidc:other", subject="s", name="s", until=0)


def _connected(own: Own) -> str:
    return str(connected.connect(actor=own.actor, user=own.user, offered=_offer()).uuid)


def password(own: Own) -> Callable[[], object]:
    return lambda: accounts.set_password(actor=own.actor, user=own.user, password=NEW)


def reset(own: Own) -> Callable[[], object]:
    return lambda: choose_reset(actor=own.actor, user=own.user, allowed=True)


def token(own: Own) -> Callable[[], object]:
    return lambda: personal.issue_personal(actor=own.actor, name="laptop")


def approved_device(own: Own) -> Callable[[], object]:
    code = device.start(name="laptop", address="192.0.2.7").row.user_code
    return lambda: device.approve(actor=own.actor, code=code)


def approved_program(own: Own) -> Callable[[], object]:
    asked = loopback.LoopbackRequest("kpr", "4000", "s" * 16, "c" * 43)
    return lambda: loopback.approve(
        actor=own.actor, asked=asked, environment="", prefix="", lifetime=personal.DEFAULT_LIFETIME
    )


def factor_begun(own: Own) -> Callable[[], object]:
    return lambda: second_factor.begin(actor=own.actor, user=own.user)


def factor_enrolled(own: Own) -> Callable[[], object]:
    secret = second_factor.begin(actor=own.actor, user=own.user).secret
    return lambda: second_factor.enrol(actor=own.actor, user=own.user, code=code_of(secret))


def factor_removed(own: Own) -> Callable[[], object]:
    now = _with_factor(own)
    return lambda: second_factor.remove(actor=now.actor, user=now.user)


def recovery_codes(own: Own) -> Callable[[], object]:
    now = _with_factor(own)
    return lambda: second_factor.renew_recovery_codes(actor=now.actor, user=now.user)


def passkey(own: Own) -> Callable[[], object]:
    now = _with_factor(own)
    begun = passkeys.begin_registration(actor=now.actor, user=now.user, party=PARTY)
    made = Authenticator().create(begun.options)
    return lambda: passkeys.register(
        actor=now.actor, user=now.user, name="k", credential=made, challenge=begun.challenge, party=PARTY
    )


def passkey_removed(own: Own) -> Callable[[], object]:
    now = _with_factor(own)
    with_passkey(now.cast, now.user)
    uuid = str(Passkey.objects.get().uuid)
    return lambda: passkeys.remove_passkey(actor=now.actor, user=now.user, uuid=uuid)


def connecting(own: Own) -> Callable[[], object]:
    return lambda: connected.connect(actor=own.actor, user=own.user, offered=_offer())


def disconnecting(own: Own) -> Callable[[], object]:
    uuid = _connected(own)
    return lambda: connected.disconnect(
        actor=own.actor, user=own.user, uuid=uuid, subject=None, except_key=own.actor.session or ""
    )


ACTS = [
    password, reset, token, approved_device, approved_program, factor_begun, factor_enrolled, factor_removed,
    recovery_codes, passkey, passkey_removed, connecting, disconnecting,
]  # fmt: skip


def _root(own: Own) -> Principal:
    return user_principal(own.cast.root).proven()


def _hand_over(own: Own) -> Scim:
    with patch.object(scim_clients, "sign_ins", return_value={"oidc:okta": "Okta"}):
        client = Scim(own.cast, issuer="oidc:okta")
    handing_over.hand_over(
        actor=_root(own), user=own.user, client=client.row, external_id="a-1", user_name="a@example.com"
    )
    return client


def signed_out_everywhere(own: Own) -> None:
    service.end_other_sessions(actor=_root(own), user=own.user)


def password_replaced(own: Own) -> None:
    accounts.set_password(actor=_root(own), user=own.user, password="replaced-by-another-person")


def handed_over(own: Own) -> None:
    _hand_over(own)


def come_by_single_sign_on(own: Own) -> None:
    _hand_over(own)
    subject_user(vouched("a-1"), actor=system_principal(is_admin=True))


def off_and_on_by_scim(own: Own) -> None:
    client = _hand_over(own)
    [row] = client.call("get", "/Users").json()["Resources"]
    assert [client.activate(row["id"], active).status_code for active in (False, True)] == [200, 200]


ENDS = [signed_out_everywhere, password_replaced, off_and_on_by_scim]
# The external ID of a hand-over gives the account to another person: asked of what lasts longest.
CASES = [
    *product(ACTS, ENDS), *product((password, token, passkey), (handed_over, come_by_single_sign_on)),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _offering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connected, "label_of", lambda _: "Other")


def ways() -> list[Any]:
    """Return what is stored of how people sign in."""
    models = (User, Session, PersonalToken, DeviceSignIn, SecondFactor, Passkey, ConnectedSignIn)
    return [list(model._base_manager.order_by("pk").values()) for model in models]


def meanwhile(monkeypatch: pytest.MonkeyPatch, end: Callable[[], object]) -> list[Any]:
    """Let something happen before the account is locked for an act; return what is stored once it did."""
    lock, after = lock_authentic, list[Any]()

    def slowly(row: Any) -> Any:
        monkeypatch.setattr(service, "lock_authentic", lock)
        end()
        after.extend(ways())
        return lock(row)

    monkeypatch.setattr(service, "lock_authentic", slowly)
    return after


@pytest.mark.every_database_weekly
@pytest.mark.parametrize(("act", "end"), CASES)
def test_nothing_of_a_session_that_ended_meanwhile_takes_effect(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, events: Events, act: Act, end: Callable[[Own], None]
) -> None:
    own = _own(cast)
    run = act(own)
    after = meanwhile(monkeypatch, lambda: end(own))
    with pytest.raises(SessionEnded):
        run()
    assert after == ways()
    told = AuditEvent.objects.order_by("-pk")[0]
    assert (told.outcome, told.actor_name) == (Outcome.DENIED, "alice")
    assert "session-ended" in told.details


@pytest.mark.parametrize("act", ACTS)
def test_the_same_acts_of_a_session_that_goes_on(cast: Cast, act: Act) -> None:
    run = act(_own(cast))
    before = ways()
    run()
    assert before != ways()


def entered() -> Client:
    client = Client()
    assert client.post("/sign-in", {"username": "alice", "password": PASSWORD}).status_code == 302
    return client


def lives(client: Client) -> bool:
    return client.get("/api/whoami").status_code == 200


def ended(cast: Cast) -> None:
    service.end_other_sessions(actor=user_principal(cast.root).proven(), user=cast.alice)


CHANGE = {"current": PASSWORD, "password": NEW, "again": NEW}
FORMS = [
    ("/profile/password", CHANGE), ("/profile/second-factor/start", {}),
    ("/profile/tokens/issue", {"name": "laptop", "hours": "12"}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "form"), FORMS, ids=[path for path, _ in FORMS])
def test_a_page_leads_to_the_sign_in_and_the_session_does_not_return(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, path: str, form: dict[str, str]
) -> None:
    client = entered()
    after = meanwhile(monkeypatch, lambda: ended(cast))
    response = client.post(path, form, headers={"referer": "http://testserver/profile"})
    assert (response.status_code, response["Location"]) == (302, "/sign-in?next=%2Fprofile&expired=1")
    assert after == ways()
    assert not lives(client)


def test_a_script_gets_401(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    client = entered()
    meanwhile(monkeypatch, lambda: ended(cast))
    answer = client.post("/profile/password", CHANGE, headers={"X-Requested-With": "fetch"})
    assert answer.status_code == 401


@pytest.mark.every_database
def test_a_session_that_ends_right_after_its_password_changed_does_not_return(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = entered()

    def late(*arguments: Any) -> None:
        ended(cast)
        update_session_auth_hash(*arguments)

    monkeypatch.setattr(profile, "update_session_auth_hash", late)
    assert client.post("/profile/password", CHANGE).status_code == 302
    assert not lives(client)
    assert not Session.objects.exclude(user=None).exists()


@pytest.mark.every_database
def test_a_session_that_ends_while_it_is_confirmed_does_not_return(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    client, note = entered(), sign_in._record

    def late(*arguments: Any) -> None:
        note(*arguments)
        ended(cast)

    monkeypatch.setattr(sign_in, "_record", late)
    assert client.post("/confirm", {"password": PASSWORD}).status_code == 302
    assert len(events(Action.SESSION_CONFIRM)) == 1
    assert not lives(client)
    assert not Session.objects.exclude(user=None).exists()


def late_zone(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Return a browser whose session ends between an act and what the act leaves in the session."""
    client = entered()

    def late(**arguments: Any) -> None:
        choose_time_zone(**arguments)
        ended(cast)

    monkeypatch.setattr(profile, "choose_time_zone", late)
    return client


@pytest.mark.every_database
def test_a_session_that_ends_before_it_is_stored_leads_to_the_sign_in(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = late_zone(cast, monkeypatch)
    response = client.post("/profile/time-zone", {"time_zone": "Europe/Berlin"})
    # Not that nothing was saved, which would be wrong.
    assert (response.status_code, response["Location"]) == (302, "/sign-in?next=/profile")
    assert response.cookies[settings.SESSION_COOKIE_NAME].value == ""
    assert PersonalSettings.objects.get(user=cast.alice).time_zone == "Europe/Berlin"
    assert not lives(client)
    assert not Session.objects.exclude(user=None).exists()


def test_a_script_of_such_a_session_gets_401(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    client = late_zone(cast, monkeypatch)
    form, headers = {"time_zone": "Europe/Berlin"}, {"X-Requested-With": "fetch"}
    response = client.post("/profile/time-zone", form, headers=headers)
    assert (response.status_code, response.content) == (401, b"Your session has expired. Sign in again.")


def test_the_api_says_so_as_a_problem(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    client, find = entered(), drf.session_principal

    def late(request: Any) -> Principal:
        request.session["keeps"] = "something"
        ended(cast)
        return find(request)

    monkeypatch.setattr(middleware, "session_principal", late)
    response = client.get("/api/whoami")
    assert (response.status_code, response["Content-Type"]) == (401, "application/problem+json")
    assert response.json()["detail"] == "Your session was ended meanwhile. Sign in again."


@pytest.mark.every_database
def test_an_act_right_after_the_proof_in_one_form_goes_through(cast: Cast) -> None:
    client = entered()
    session = client.session
    session["confirmed_at"] = 0
    session.save()
    code = device.start(name="laptop", address="192.0.2.7").row.user_code
    form = {"code": code, "hours": "12", "proof-password": PASSWORD}
    assert client.post("/device/approve", form)["Location"] == "/profile#tokens"
    assert lives(client)


@pytest.mark.every_database
def test_what_ends_sessions_locks_the_account_first(cast: Cast) -> None:
    if connection.vendor != "mysql":
        pytest.skip("SQLite locks the whole database when a transaction begins")
    own = _own(cast)
    ends: list[Callable[[], object]] = [
        lambda: ended(cast),
        lambda: service.end_session(actor=own.actor, user=own.user, key=own.actor.session or ""),
        lambda: password_replaced(own),
        lambda: handed_over(own),
    ]
    for end in ends:
        Client().force_login(User.objects.get(pk=own.user.pk))
        with CaptureQueriesContext(connection) as captured:
            end()
        texts = [each["sql"] for each in captured.captured_queries]
        deletes = [at for at, sql in enumerate(texts) if sql.startswith("DELETE") and "_session`" in sql]
        locks = [
            at
            for at, sql in enumerate(texts)
            if "FOR UPDATE" in sql and "FROM `environments_app_user`" in sql
        ]
        assert deletes, texts
        assert locks[0] < deletes[0], texts
