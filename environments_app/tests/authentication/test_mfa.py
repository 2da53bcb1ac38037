import re
import time
from base64 import b32decode
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django_otp.oath import hotp
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from environments_app.authentication import second_factor
from environments_app.authentication.second_factor import RECOVERY_CODES, new_seed
from environments_app.authorization.rows import access_rows
from environments_app.errors import Conflict, Forbidden, InvalidField
from environments_app.models import Alert, PersonalToken, SecondFactor, Session, User
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens.personal import issue_personal
from environments_app.users import accounts, suspensions

Events = Callable[..., list[AuditEvent]]
WRONG = "000000"


def code_of(secret: str, *, ahead: int = 0) -> str:
    """Return what an authenticator shows now, or some steps of thirty seconds ahead."""
    return f"{hotp(b32decode(secret), int(time.time()) // 30 + ahead):06d}"


@pytest.fixture(autouse=True)
def _codes_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw seeds whose codes of these minutes are each another, and never WRONG: one in 15,000 is no such seed."""

    def seed() -> bytes:
        while True:
            drawn = new_seed()
            now = int(time.time()) // 30
            codes = [hotp(drawn, now + step) for step in range(-3, 8)]
            if len({*codes, int(WRONG)}) == len(codes) + 1:
                return drawn

    monkeypatch.setattr(second_factor, "new_seed", seed)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still, in the middle of a step, until its one entry is changed."""
    moment = [float(int(time.time()) // 30 * 30 + 15)]
    monkeypatch.setattr("environments_app.authentication.second_factor.time.time", lambda: moment[0])
    return moment


def enrolled(cast: Cast, user: User) -> tuple[str, list[str]]:
    """Give somebody a second factor; return the seed and the recovery codes. Its code of now is used up."""
    secret = second_factor.begin(actor=cast.principal(user), user=user).secret
    codes = second_factor.enrol(actor=cast.principal(user), user=user, code=code_of(secret))
    user.refresh_from_db()
    return secret, codes


def password_given(name: str = "alice") -> Client:
    client = Client()
    response = client.post("/sign-in?next=/secrets", {"username": name, "password": PASSWORD})
    assert response["Location"] == "/sign-in/code?next=%2Fsecrets"
    return client


def give_code(client: Client, code: str) -> Any:
    return client.post("/sign-in/code", {"code": code, "next": "/secrets"})


def is_in(client: Client) -> bool:
    return client.get("/api/whoami").status_code == 200


@pytest.mark.every_database
def test_a_password_alone_lets_nobody_in(cast: Cast, clock: list[float], events: Events) -> None:
    secret, _ = enrolled(cast, cast.alice)
    clock[0] += 30
    client = password_given()
    assert not is_in(client)
    assert not events(Action.SIGN_IN)
    response = give_code(client, WRONG)
    assert (response.status_code, is_in(client)) == (200, False)
    assert give_code(client, code_of(secret))["Location"] == "/secrets"
    assert is_in(client)
    denied, allowed = events(Action.SIGN_IN)
    assert (denied.outcome, '"second-factor"' in denied.details) == ("denied", True)
    assert (allowed.outcome, '"second_factor":"code"' in allowed.details) == ("allowed", True)


def test_a_code_counts_once_and_only_about_now(cast: Cast, clock: list[float]) -> None:
    secret, _ = enrolled(cast, cast.alice)
    used, root = code_of(secret), cast.principal(cast.alice)

    def accepts(code: str) -> bool:
        return second_factor.use_code(actor=root, user=cast.alice, text=code) is not None

    assert not accepts(used)
    assert not accepts(code_of(secret, ahead=-1))
    assert not accepts(code_of(secret, ahead=2))
    assert accepts(code_of(secret, ahead=1))
    clock[0] += 30
    assert not accepts(code_of(secret))
    clock[0] += 30
    assert accepts(f" {code_of(secret)[:3]} {code_of(secret)[3:]} ")
    # The digits of other alphabets are none, whatever number they stand for.
    assert not accepts(code_of(secret, ahead=1).translate({ord("0") + n: 0x660 + n for n in range(10)}))
    assert accepts(code_of(secret, ahead=1))


def test_a_recovery_code_lets_in_once(cast: Cast, events: Events) -> None:
    _, codes = enrolled(cast, cast.alice)
    assert len(set(codes)) == RECOVERY_CODES
    client = password_given()
    assert give_code(client, codes[3].upper().replace("-", " ")).status_code == 302
    assert is_in(client)
    assert give_code(password_given(), codes[3]).status_code == 200
    assert second_factor.recovery_codes_left(cast.alice) == RECOVERY_CODES - 1
    assert '"left":9' in events(Action.SECOND_FACTOR_CHANGE)[-1].details
    assert not list(access_rows())


@pytest.mark.every_database
def test_of_two_processes_with_one_code_one_takes_it(
    cast: Cast, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, _ = enrolled(cast, cast.alice)
    clock[0] += 30
    # Both have read the row before either took the code.
    read = SecondFactor.objects.select_related("user").get()
    monkeypatch.setattr(second_factor, "_standing", lambda *_, **__: read)
    actor, code = cast.principal(cast.alice), code_of(secret)
    taken = [second_factor.use_code(actor=actor, user=cast.alice, text=code) for _ in range(2)]
    assert taken == ["code", None]


def test_nothing_in_clear_is_stored_or_recorded(cast: Cast) -> None:
    secret, codes = enrolled(cast, cast.alice)
    row = SecondFactor.objects.get()
    assert b32decode(secret) not in bytes(row.seed)
    kept = repr([row.recovery_codes, list(AuditEvent.objects.values()), list(Session.objects.values())])
    for text in (secret, *codes, *(code.replace("-", "") for code in codes)):
        assert text not in kept


@pytest.mark.every_database
def test_sql_takes_no_second_factor_away_and_lends_none(cast: Cast, sql: Callable[..., None]) -> None:
    secret, _ = enrolled(cast, cast.alice)
    other, _ = enrolled(cast, cast.root)
    alice, root = (SecondFactor.objects.get(user=user) for user in (cast.alice, cast.root))
    # Somebody else's seed, with a MAC that is right for the row: the envelope opens in its own place alone.
    SecondFactor.objects.filter(pk=alice.pk).update(seed=root.seed)
    alice.refresh_from_db()
    alice.seal_row()
    SecondFactor.objects.filter(pk=alice.pk).update(row_mac=alice.row_mac)
    assert give_code(password_given(), code_of(other, ahead=1)).status_code == 200
    assert AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION).exists()
    # Without the row there is nothing to show, and the password is not enough.
    take_away(SecondFactor.objects.filter(pk=alice.pk))
    assert give_code(password_given(), code_of(secret, ahead=1)).status_code == 200
    sql("UPDATE environments_app_user SET second_factor = NULL WHERE id = %s", cast.alice.pk)
    assert Client().post("/sign-in", {"username": "alice", "password": PASSWORD}).status_code == 200


def test_wrong_codes_count_with_wrong_passwords_whatever_the_address_claims(
    cast: Cast, settings: Settings, clock: list[float]
) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 1000
    secret, _ = enrolled(cast, cast.alice)
    clock[0] += 30
    for number in range(3):
        # The right password in between must not start the count anew.
        client = password_given()
        client.defaults["HTTP_X_FORWARDED_FOR"] = f"203.0.113.{number}"
        assert give_code(client, WRONG).status_code == 200
    assert give_code(client, code_of(secret)).status_code == 429
    assert Client().post("/sign-in", {"username": "alice", "password": PASSWORD}).status_code == 429
    assert not is_in(client)


def test_a_password_that_was_replaced_meanwhile_waits_for_no_code(cast: Cast, clock: list[float]) -> None:
    secret, _ = enrolled(cast, cast.alice)
    clock[0] += 30
    client = password_given()
    accounts.set_password(actor=cast.principal(cast.alice), user=cast.alice, password="a-new-passphrase")
    assert give_code(client, code_of(secret))["Location"] == "/sign-in"
    assert Client().get("/sign-in/code")["Location"] == "/sign-in"


def test_a_fresh_sign_in_and_a_new_password_ask_for_it_too(
    cast: Cast, clock: list[float], signed_in: Callable[[User], Client]
) -> None:
    secret, _ = enrolled(cast, cast.alice)
    browser = signed_in(cast.alice)
    session = browser.session
    session["confirmed_at"] = 1
    session.save()
    assert browser.post("/confirm", {"password": PASSWORD}).status_code == 422
    assert browser.post("/confirm", {"password": PASSWORD, "code": WRONG}).status_code == 422
    new = {"current": PASSWORD, "password": "a-new-passphrase", "again": "a-new-passphrase"}
    assert browser.post("/profile/password", {**new, "code": WRONG}).status_code == 422
    issue = {"name": "ci", "role": "viewer"}
    assert browser.post("/environments/development/tokens", issue).status_code == 422
    clock[0] += 30
    assert browser.post("/confirm", {"password": PASSWORD, "code": code_of(secret)}).status_code == 302
    assert browser.post("/environments/development/tokens", issue).status_code == 200
    clock[0] += 30
    assert browser.post("/profile/password", {**new, "code": code_of(secret)}).status_code == 302


def test_it_is_set_up_and_removed_by_pages(
    cast: Cast, clock: list[float], signed_in: Callable[[User], Client], events: Events
) -> None:
    browser = signed_in(cast.alice)
    page = browser.post("/profile/second-factor/start").content.decode()
    assert "<svg" in page
    assert "style=" not in page
    secret = re.findall(r"<pre[^>]*>([A-Z2-7 ]+)</pre>", page)[0].replace(" ", "")
    again = browser.post("/profile/second-factor/enrol", {"code": WRONG})
    assert (again.status_code, secret[:4] in again.content.decode()) == (422, True)
    shown = browser.post("/profile/second-factor/enrol", {"code": code_of(secret)}).content.decode()
    assert len(re.findall(r"\b[a-z2-9]{4}(?:-[a-z2-9]{4}){3}\b", shown)) == RECOVERY_CODES
    assert browser.post("/profile/second-factor/start").status_code == 302
    assert "Recovery codes left: <b>10</b>" in browser.get("/profile/second-factor").content.decode()
    assert browser.post("/profile/second-factor/remove").status_code == 302
    assert not SecondFactor.objects.exists()
    told = [event.details for event in events(Action.SECOND_FACTOR_CHANGE)]
    assert [re.findall(r'"change":"([a-z ]+)"', text)[0] for text in told] == ["begun", "enrolled", "removed"]
    assert not list(access_rows())


def set_up(browser: Client) -> str:
    """Set a second factor up by the pages; return the seed."""
    page = browser.post("/profile/second-factor/start").content.decode()
    secret: str = re.findall(r"<pre[^>]*>([A-Z2-7 ]+)</pre>", page)[0].replace(" ", "")
    assert browser.post("/profile/second-factor/enrol", {"code": code_of(secret)}).status_code == 200
    return secret


@pytest.mark.every_database
def test_setting_it_up_or_removing_it_ends_the_sessions_that_began_otherwise(
    cast: Cast, clock: list[float], signed_in: Callable[[User], Client]
) -> None:
    other, browser = signed_in(cast.alice), signed_in(cast.alice)
    stolen = Client(headers={"cookie": f"sessionid={browser.cookies['sessionid'].value}"})
    assert is_in(other)
    assert is_in(stolen)
    secret = set_up(browser)
    assert (is_in(other), is_in(stolen), is_in(browser)) == (False, False, True)
    assert Session.objects.filter(user=cast.alice).count() == 1
    clock[0] += 30
    again = password_given()
    give_code(again, code_of(secret))
    assert is_in(again)
    assert browser.post("/profile/second-factor/remove").status_code == 302
    assert (is_in(again), is_in(browser)) == (False, True)


def test_a_sign_in_that_was_under_way_while_it_was_set_up_starts_no_session(
    cast: Cast, clock: list[float], signed_in: Callable[[User], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    late = Client()
    genuine = User.check_password

    def slow(user: User, password: str | None) -> bool:
        # The account was read without a second factor; it is set up while the hash is computed.
        monkeypatch.setattr(User, "check_password", genuine)
        set_up(signed_in(cast.alice))
        return genuine(user, password)

    monkeypatch.setattr(User, "check_password", slow)
    late.post("/sign-in", {"username": "alice", "password": PASSWORD})
    assert cast.alice.second_factor is None
    assert User.objects.get(username="alice").second_factor is not None
    assert not is_in(late)


def test_a_page_left_open_asks_who_one_is(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    browser = signed_in(cast.alice)
    session = browser.session
    session["confirmed_at"] = 1
    session.save()
    for act in ("start", "enrol", "codes", "remove"):
        answer = browser.post(f"/profile/second-factor/{act}")
        assert answer["Location"] == "/confirm?next=%2Fprofile%2Fsecond-factor"
    assert not SecondFactor.objects.exists()


def test_a_setup_that_was_given_up_is_replaced(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    first = second_factor.begin(actor=alice, user=cast.alice).secret
    second = second_factor.begin(actor=alice, user=cast.alice).secret
    assert SecondFactor.objects.filter(user=cast.alice).count() == 1
    with pytest.raises(InvalidField):
        second_factor.enrol(actor=alice, user=cast.alice, code=code_of(first))
    assert second_factor.enrol(actor=alice, user=cast.alice, code=code_of(second))
    assert list(run_checks()) == []


def test_nobody_sets_up_or_changes_that_of_others(cast: Cast) -> None:
    root = cast.principal(cast.root)
    for act in (second_factor.begin, second_factor.renew_recovery_codes):
        with pytest.raises(Forbidden):
            act(actor=root, user=cast.alice)
    with pytest.raises(Forbidden):
        second_factor.remove(actor=cast.principal(cast.alice), user=cast.root)
    with pytest.raises(Conflict):
        second_factor.begin(actor=cast.principal(cast.bob), user=cast.bob)
    second_factor.begin(actor=root, user=cast.root)
    with pytest.raises(InvalidField):
        second_factor.enrol(actor=root, user=cast.root, code=WRONG)


def test_an_administrator_removes_it_and_reads_nothing_by_that(
    cast: Cast, signed_in: Callable[[User], Client], events: Events
) -> None:
    enrolled(cast, cast.alice)
    open_session = signed_in(cast.alice)
    form = {"username": "alice", "email": "", "display_name": "", "role": "user", "is_active": "on"}
    answer = signed_in(cast.root).post(
        f"/admin/environments_app/user/{cast.alice.pk}/change/", {**form, "remove_second_factor": "on"}
    )
    assert answer.status_code == 302
    assert not is_in(open_session)
    assert {grant.role for grant in cast.principal(cast.alice).grants} == {"viewer"}
    assert [event.object_name for event in events(Action.BREAK_GLASS)] == ["alice"]
    assert not list(access_rows())


def test_its_removal_ends_personal_tokens_and_is_told_to_managers(cast: Cast) -> None:
    enrolled(cast, cast.alice)
    issue_personal(actor=cast.principal(cast.alice), name="laptop")
    second_factor.remove(actor=cast.principal(cast.root), user=cast.alice)
    assert PersonalToken.objects.get().revoked_at is not None
    assert Alert.objects.filter(kind=suspensions.KIND, environment=cast.development, open=True).exists()


def test_where_it_is_required_administrators_set_it_up_first(
    cast: Cast, settings: Settings, clock: list[float], signed_in: Callable[[User], Client]
) -> None:
    browser = signed_in(cast.root)
    settings.KEEPER_REQUIRE_ADMIN_MFA = True
    for path in ("/", "/admin/", "/environments", "/profile"):
        assert browser.get(path)["Location"] == "/profile/second-factor"
    refused = browser.get("/api/environments")
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    assert signed_in(cast.alice).get("/environments").status_code == 200
    page = browser.post("/profile/second-factor/start").content.decode()
    secret = re.findall(r"<pre[^>]*>([A-Z2-7 ]+)</pre>", page)[0].replace(" ", "")
    browser.post("/profile/second-factor/enrol", {"code": code_of(secret)})
    assert browser.get("/admin/").status_code == 200
    browser.post("/profile/second-factor/remove")
    assert SecondFactor.objects.exists()
