"""Sharing with a person outside: a link and a proof, one opening, recorded before it; nothing by the link alone."""

import re
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from audit_app.errors import TooManyRefusals
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from environments_app.authorization.principals import anonymous_principal, user_principal
from environments_app.environments.service import update_environment
from environments_app.errors import ConfirmationNeeded, Conflict, Forbidden, InvalidField, Invisible
from environments_app.models import Environment, Membership, User
from environments_app.tests.cast import Cast, make_cast
from secrets_app.errors import KeyUnavailable, ShareEnded
from secrets_app.models import Proof, Secret, Share
from secrets_app.services import guarded, lifecycle, outside
from secrets_app.services import share as share_service
from secrets_app.services.read import version_of
from secrets_app.tests.at_once import at_once
from secrets_app.tests.kept import VALUE, change, keep

pytestmark = pytest.mark.every_database_weekly

Events = Callable[..., list[AuditEvent]]
STRANGER = anonymous_principal("203.0.113.9", "r1")
ADDRESS = "pat@partner.example"


def allow(cast: Cast, hours: int | None = 48) -> None:
    place = Environment.objects.get(pk=cast.development.pk)
    update_environment(actor=cast.principal(cast.alice), environment=place, outside_hours=hours)


def now(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def share(cast: Cast, secret: Secret, *, hours: int = 24, **given: Any) -> outside.OutsideShare:
    given = {"proof": Proof.PHRASE, **given}
    return outside.share_outside(actor=cast.principal(cast.bob), secret=now(secret), hours=hours, **given)


def opened(link: str, proof: str) -> str:
    return outside.open_outside(actor=STRANGER, link=link, proof=proof).value


@pytest.fixture
def mailed(settings: Settings) -> Callable[[], str]:
    """Return what sends the codes that are due, and returns that of the last message."""
    settings.EMAIL_HOST = "mail.example"

    def send() -> str:
        outside.send_codes()
        found = re.search(r"[0-9]{4} [0-9]{4}", str(mail.outbox[-1].body))
        assert found
        return found[0]

    return send


@pytest.fixture
def made(cast: Cast) -> outside.OutsideShare:
    """Return a link with a pass phrase to a secret of the name `kept`."""
    secret = keep(cast)
    allow(cast)
    return share(cast, secret)


def test_it_opens_once_for_the_phrase_and_is_recorded_like_a_read(
    made: outside.OutsideShare, cast: Cast, events: Events
) -> None:
    change(cast, now(made.share.secret), "later")
    # As people type it.
    assert opened(made.link, f" {made.phrase.replace('-', ' ').upper()} ") == VALUE
    for proof in (made.phrase, ""):
        with pytest.raises(ShareEnded):
            opened(made.link, proof)
    (read,) = events("secret.reveal")
    assert (read.actor_kind, read.address) == ("anonymous", "203.0.113.9")
    assert read.object_uuid == made.share.secret.uuid
    assert '"shared_by":"bob"' in read.details
    assert len(events("secret.share_open", outcome="allowed")) == 1
    assert len(events("secret.share_open", outcome="denied")) == 2
    assert list(run_checks()) == []


def test_neither_link_nor_phrase_nor_code_is_kept(
    made: outside.OutsideShare, cast: Cast, mailed: Callable[[], str]
) -> None:
    by_mail = share(cast, made.share.secret, proof=Proof.EMAIL, address=ADDRESS)
    outside.ask_code(actor=STRANGER, link=by_mail.link)
    code = mailed()
    kept = " ".join(str(value) for row in Share.objects.values() for value in row.values())
    kept += " ".join(AuditEvent.objects.values_list("details", flat=True))
    for word in (made.link, made.phrase, by_mail.link, code, code.replace(" ", ""), VALUE):
        assert word not in kept


def test_the_link_alone_opens_nothing_and_no_sign_in_replaces_the_proof(
    made: outside.OutsideShare, cast: Cast
) -> None:
    for who in (cast.alice, cast.bob, cast.charlie, cast.root):
        with pytest.raises(Invisible):
            share_service.open_share(actor=cast.principal(who), link=made.link)
    _, colleague = share_service.share_once(actor=cast.principal(cast.bob), secret=now(made.share.secret))
    with pytest.raises(ShareEnded):
        opened(colleague, "")
    assert Share.objects.filter(opened_at=None).count() == 2


@pytest.mark.parametrize(
    "edit",
    ["outside = ''", "outside = 'email'", "address = 'x@y.example'", "proof_mac = ''"],
)
def test_what_sql_takes_away_opens_nothing(
    made: outside.OutsideShare, cast: Cast, sql: Callable[..., None], edit: str
) -> None:
    sql(f"UPDATE secrets_app_share SET {edit}")
    with pytest.raises((ShareEnded, InvalidField)):
        opened(made.link, "wrong" if "proof_mac" in edit else made.phrase)
    with pytest.raises(Invisible):
        share_service.open_share(actor=cast.principal(cast.charlie), link=made.link)
    assert Share.objects.get().opened_at is None


def test_a_proof_counts_for_its_own_share_alone(
    made: outside.OutsideShare, cast: Cast, sql: Callable[..., None], mailed: Callable[[], str]
) -> None:
    other = share(cast, made.share.secret)
    with pytest.raises(InvalidField):
        opened(made.link, other.phrase)
    # Nor with its hash planted.
    sql("UPDATE secrets_app_share SET proof_mac = %s WHERE id = %s", other.share.proof_mac, made.share.pk)
    with pytest.raises(InvalidField):
        opened(made.link, other.phrase)
    one, two = (share(cast, made.share.secret, proof=Proof.EMAIL, address=ADDRESS) for _ in range(2))
    outside.ask_code(actor=STRANGER, link=one.link)
    code = mailed()
    outside.ask_code(actor=STRANGER, link=two.link)
    mailed()
    with pytest.raises(InvalidField):
        opened(two.link, code)
    assert opened(one.link, code) == VALUE


def test_wrong_proofs_are_counted_recorded_and_end_it(made: outside.OutsideShare, events: Events) -> None:
    for left in range(outside.MAX_TRIES - 1, 0, -1):
        with pytest.raises(InvalidField, match=f"{left} tr"):
            opened(made.link, "wrong")
    with pytest.raises(ShareEnded):
        opened(made.link, "\ud800\x00")
    with pytest.raises(ShareEnded):
        opened(made.link, made.phrase)
    assert events("secret.reveal") == []
    denied = [event.details for event in events("secret.share_open", outcome="denied")]
    assert sum("wrong proof" in details for details in denied) == outside.MAX_TRIES
    assert len(events("secret.share_revoke")) == 1
    assert list(run_checks()) == []


def test_who_only_guesses_links_destroys_none_and_is_turned_away(
    made: outside.OutsideShare, settings: Settings
) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 4
    for guess in (made.link[:-1], made.share.link_hash, "", "\ud800"):
        with pytest.raises(ShareEnded):
            opened(guess, "wrong")
    with pytest.raises(TooManyRefusals):
        opened(made.link, made.phrase)
    assert Share.objects.get().tries == 0
    elsewhere = anonymous_principal("198.51.100.1")
    assert outside.open_outside(actor=elsewhere, link=made.link, proof=made.phrase).value == VALUE


ENDINGS: dict[str, Callable[[Cast, Secret], object]] = {
    "ended": lambda cast, _: share_service.revoke_share(
        actor=cast.principal(cast.alice), share=Share.objects.get()
    ),
    "expired": lambda *_: _late(Share.objects.get()),
    "turned off": lambda cast, _: allow(cast, None),
    "protected": lambda cast, _: _protect(cast),
    "right lost": lambda cast, _: take_away(Membership.objects.filter(user=cast.bob)),
    "sharer inactive": lambda cast, _: _disable(cast.bob),
    "secret deleted": lambda cast, secret: lifecycle.delete(
        actor=cast.principal(cast.alice), secret=now(secret)
    ),
    "guarded": lambda cast, secret: guarded.guard(actor=cast.principal(cast.alice), secret=now(secret)),
    "prolonged by SQL": lambda *_: Share.objects.update(expires_at=timezone.now() + timedelta(days=6)),
}


def _late(row: Share) -> None:
    row.expires_at = timezone.now() - timedelta(seconds=1)
    row.save()


def _disable(user: User) -> None:
    user.is_active = False
    user.save()


def _protect(cast: Cast) -> None:
    place = Environment.objects.get(pk=cast.development.pk)
    place.protected = True
    place.save()


@pytest.mark.parametrize("end", ENDINGS)
def test_what_no_longer_holds_opens_nothing(
    made: outside.OutsideShare, cast: Cast, events: Events, end: str
) -> None:
    ENDINGS[end](cast, made.share.secret)
    with pytest.raises(ShareEnded):
        opened(made.link, made.phrase)
    assert Share.objects.get().opened_at is None
    assert [event for event in events("secret.reveal") if event.actor_kind == "anonymous"] == []


@pytest.mark.parametrize("end", ENDINGS)
def test_what_ends_meanwhile_opens_nothing(
    made: outside.OutsideShare, cast: Cast, events: Events, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """It was found open, and ends before it is consumed."""

    find = outside.find_outside

    def meanwhile(**given: Any) -> Share:
        found = find(**given)
        ENDINGS[end](cast, made.share.secret)
        return found

    monkeypatch.setattr(outside, "find_outside", meanwhile)
    with pytest.raises(ShareEnded):
        opened(made.link, made.phrase)
    assert Share.objects.get().opened_at is None
    assert [event for event in events("secret.reveal") if event.actor_kind == "anonymous"] == []


@pytest.mark.parametrize(("age", "opens"), [(59, True), (61, False)])
def test_a_lowered_limit_holds_for_links_that_were_made_before(
    made: outside.OutsideShare, cast: Cast, age: int, opens: bool
) -> None:
    Share.objects.update(created_at=timezone.now() - timedelta(minutes=age))
    allow(cast, 1)
    if opens:
        assert opened(made.link, made.phrase) == VALUE
        return
    with pytest.raises(ShareEnded):
        opened(made.link, made.phrase)
    allow(cast, 24)
    assert opened(made.link, made.phrase) == VALUE


def test_only_who_may_end_a_link_is_offered_to(
    made: outside.OutsideShare, cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    membership = Membership.objects.get(environment=cast.development, user=cast.vera)
    membership.role = "reader"
    membership.save()
    page = f"/secrets/{made.share.secret.pk}"
    offers = {
        user.username: f"/shares/{made.share.pk}/revoke" in signed_in(user).get(page).content.decode()
        for user in (cast.bob, cast.erin, cast.vera)
    }
    assert offers == {"bob": True, "erin": True, "vera": False}


def test_a_key_that_is_away_consumes_nothing(
    made: outside.OutsideShare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_keys: object) -> None:
        raise KeyUnavailable("away", permanent=False)

    with monkeypatch.context() as patched:
        patched.setattr("secrets_app.keys.data_keys.prefetch", away)
        with pytest.raises(KeyUnavailable):
            opened(made.link, made.phrase)
    assert opened(made.link, made.phrase) == VALUE


@pytest.mark.every_database
def test_of_many_at_once_one_gets_it_and_no_try_is_free(transactional_db: None) -> None:
    cast = make_cast()
    secret = keep(cast)
    allow(cast)
    made = share(cast, secret)
    got = at_once(*[lambda: opened(made.link, made.phrase)] * 2)
    assert sorted(one if isinstance(one, str) else type(one).__name__ for one in got) == ["ShareEnded", VALUE]
    assert AuditEvent.objects.filter(action="secret.reveal").count() == 1

    other = share(cast, secret)
    at_once(*[lambda: opened(other.link, "wrong")] * 4)
    assert Share.objects.get(pk=other.share.pk).tries == 4


# --- Codes by e-mail ---------------------------------------------------------------------------------


def test_a_code_comes_once_a_minute_works_ten_minutes_and_the_newest_alone(
    made: outside.OutsideShare, cast: Cast, mailed: Callable[[], str], events: Events
) -> None:
    by_mail = share(cast, made.share.secret, proof=Proof.EMAIL, address=ADDRESS)
    rows = Share.objects.filter(pk=by_mail.share.pk)
    for proof in ("", "00000000"):
        with pytest.raises(InvalidField):
            opened(by_mail.link, proof)
    outside.ask_code(actor=STRANGER, link=by_mail.link)
    with pytest.raises(Conflict, match="minute"):
        outside.ask_code(actor=STRANGER, link=by_mail.link)
    first = mailed()
    assert mail.outbox[-1].to == [ADDRESS]
    assert outside.send_codes() == 0
    assert by_mail.link not in str(mail.outbox[-1].body)

    rows.update(code_asked_at=timezone.now() - timedelta(minutes=2))
    outside.ask_code(actor=STRANGER, link=by_mail.link)
    second = mailed()
    with pytest.raises(InvalidField):
        opened(by_mail.link, first)
    assert opened(by_mail.link, second) == VALUE
    assert len(events("secret.share_code")) == 2
    assert ADDRESS in events("secret.reveal", actor_kind="anonymous")[0].details


def test_a_code_that_a_clock_ahead_asked_for_keeps_nobody_waiting(
    made: outside.OutsideShare, cast: Cast, mailed: Callable[[], str]
) -> None:
    by_mail = share(cast, made.share.secret, proof=Proof.EMAIL, address=ADDRESS)
    outside.ask_code(actor=STRANGER, link=by_mail.link)
    Share.objects.filter(pk=by_mail.share.pk).update(code_asked_at=timezone.now() + timedelta(hours=3))
    outside.ask_code(actor=STRANGER, link=by_mail.link)
    assert opened(by_mail.link, mailed()) == VALUE


def test_a_code_that_was_requested_again_while_it_was_made_is_not_sent(
    made: outside.OutsideShare, cast: Cast, mailed: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_mail, random = share(cast, made.share.secret, proof=Proof.EMAIL, address=ADDRESS), outside._random
    outside.ask_code(actor=STRANGER, link=by_mail.link)

    def meanwhile(alphabet: str, length: int) -> str:
        monkeypatch.undo()
        Share.objects.filter(pk=by_mail.share.pk).update(code_asked_at=timezone.now() - timedelta(minutes=2))
        outside.ask_code(actor=STRANGER, link=by_mail.link)
        return random(alphabet, length)

    monkeypatch.setattr(outside, "_random", meanwhile)
    outside.send_codes()
    # It would open nothing: the next one is of the newer request.
    assert mail.outbox == []
    assert opened(by_mail.link, mailed()) == VALUE


def test_an_old_code_does_not_count_nor_one_whose_time_was_moved(
    made: outside.OutsideShare, cast: Cast, mailed: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_mail = share(cast, made.share.secret, proof=Proof.EMAIL, address=ADDRESS)
    outside.ask_code(actor=STRANGER, link=by_mail.link)
    code, row = mailed(), Share.objects.get(pk=by_mail.share.pk)
    later = timezone.now() + outside.CODE_LIFE + timedelta(seconds=1)
    with monkeypatch.context() as patched:
        patched.setattr("core.clock.timezone", SimpleNamespace(now=lambda: later))
        with pytest.raises(InvalidField):
            opened(by_mail.link, code)
    asked = row.code_asked_at
    assert asked
    Share.objects.filter(pk=row.pk).update(code_asked_at=asked + timedelta(seconds=1))
    with pytest.raises(InvalidField):
        opened(by_mail.link, code)


def test_an_expired_code_says_so_and_costs_no_try(
    made: outside.OutsideShare,
    cast: Cast,
    mailed: Callable[[], str],
    events: Events,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_mail = share(cast, made.share.secret, proof=Proof.EMAIL, address=ADDRESS)
    outside.ask_code(actor=STRANGER, link=by_mail.link)
    code, later = mailed(), timezone.now() + outside.CODE_LIFE + timedelta(seconds=1)
    with monkeypatch.context() as patched:
        patched.setattr("core.clock.timezone", SimpleNamespace(now=lambda: later))
        for proof in (code, "00000000"):
            with pytest.raises(InvalidField, match="expired"):
                opened(by_mail.link, proof)
    assert Share.objects.get(pk=by_mail.share.pk).tries == 0
    assert len(events("secret.share_open", outcome="denied")) == 2


def test_many_links_bring_one_address_and_of_one_sharer_few_codes(
    made: outside.OutsideShare, cast: Cast, mailed: Callable[[], str]
) -> None:
    def ask(address: str) -> None:
        link = share(cast, made.share.secret, proof=Proof.EMAIL, address=address).link
        outside.ask_code(actor=STRANGER, link=link)

    for number in range(outside.MAX_FOR_ADDRESS):
        ask(ADDRESS.upper() if number % 2 else ADDRESS)
    with pytest.raises(Conflict, match="within the hour"):
        ask(ADDRESS)
    ask("other@partner.example")
    outside.send_codes()
    assert len(mail.outbox) == outside.MAX_FOR_ADDRESS + 1
    Share.objects.filter(code_asked_at__isnull=False).update(address="x@y.example", codes=3)
    with pytest.raises(Conflict, match="within the hour"):
        ask("third@partner.example")
    Share.objects.update(code_asked_at=timezone.now() - timedelta(hours=2))
    ask("third@partner.example")


@pytest.mark.every_database
def test_codes_of_one_sharer_that_are_requested_at_once_are_counted_together(
    transactional_db: None, settings: Settings
) -> None:
    settings.EMAIL_HOST = "mail.example"
    cast = make_cast()
    secret = keep(cast)
    allow(cast)
    links = [share(cast, secret, proof=Proof.EMAIL, address=ADDRESS).link for _ in range(5)]
    outside.ask_code(actor=STRANGER, link=links.pop())
    Share.objects.filter(codes=1).update(codes=outside.MAX_FOR_ADDRESS - 1)
    got = at_once(*[lambda link=link: outside.ask_code(actor=STRANGER, link=link) for link in links])
    assert sorted(type(one).__name__ for one in got) == ["Conflict", "Conflict", "Conflict", "NoneType"]


def test_an_installation_that_is_not_active_sends_no_code(
    made: outside.OutsideShare, cast: Cast, mailed: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_mail = share(cast, made.share.secret, proof=Proof.EMAIL, address=ADDRESS)
    outside.ask_code(actor=STRANGER, link=by_mail.link)
    with monkeypatch.context() as patched:
        patched.setattr(outside, "is_active", lambda: False)
        assert (outside.send_codes(), mail.outbox) == (0, [])
    # It is due still.
    assert opened(by_mail.link, mailed()) == VALUE


def test_a_name_adds_no_line_to_the_mail_of_a_code(
    made: outside.OutsideShare, cast: Cast, mailed: Callable[[], str]
) -> None:
    """A name that was stored before names were checked."""
    by_mail = share(cast, made.share.secret, proof=Proof.EMAIL, address=ADDRESS)
    User.objects.filter(pk=cast.bob.pk).update(display_name="Bob\n\nSign in at\x00 \u202ehttps://evil.test")
    outside.ask_code(actor=STRANGER, link=by_mail.link)
    mailed()
    lines = str(mail.outbox[-1].body).splitlines()
    assert lines[0].startswith("Your code to view the secret that Bob  Sign in at")
    assert not any(line.startswith("Sign in") for line in lines)
    assert all(line.isprintable() for line in lines)


def test_codes_are_sent_for_open_shares_and_a_few_times_alone(
    made: outside.OutsideShare, cast: Cast, mailed: Callable[[], str]
) -> None:
    by_mail = share(cast, made.share.secret, proof=Proof.EMAIL, address=ADDRESS)
    rows = Share.objects.filter(pk=by_mail.share.pk)
    with pytest.raises(ShareEnded):
        outside.ask_code(actor=STRANGER, link=made.link)
    rows.update(codes=outside.MAX_CODES)
    with pytest.raises(Conflict, match="No more codes"):
        outside.ask_code(actor=STRANGER, link=by_mail.link)
    rows.update(codes=0)
    outside.ask_code(actor=STRANGER, link=by_mail.link)
    share_service.revoke_share(actor=cast.principal(cast.bob), share=rows.get())
    before = len(mail.outbox)
    outside.send_codes()
    assert len(mail.outbox) == before


# --- Making one --------------------------------------------------------------------------------------


def test_it_takes_the_environment_the_right_and_a_fresh_sign_in(cast: Cast, settings: Settings) -> None:
    secret = keep(cast)
    with pytest.raises(Conflict, match="does not allow"):
        share(cast, secret)
    allow(cast, 8)
    for hours, may in ((8, True), (9, False), (0, False)):
        if may:
            share(cast, secret, hours=hours)
        else:
            with pytest.raises(InvalidField, match="hours"):
                share(cast, secret, hours=hours)
    with pytest.raises(Forbidden):
        outside.share_outside(
            actor=cast.principal(cast.vera), secret=now(secret), proof=Proof.PHRASE, hours=1
        )
    unproven = user_principal(cast.bob, confirmed=False)
    with pytest.raises(ConfirmationNeeded):
        outside.share_outside(actor=unproven, secret=now(secret), proof=Proof.PHRASE, hours=1)
    settings.EMAIL_HOST = ""
    with pytest.raises(Conflict, match="EMAIL_HOST"):
        share(cast, secret, hours=1, proof=Proof.EMAIL, address=ADDRESS)
    settings.EMAIL_HOST = "mail.example"
    with pytest.raises(InvalidField, match="address"):
        share(cast, secret, hours=1, proof=Proof.EMAIL)
    assert Share.objects.count() == 1


def test_a_setting_that_changes_meanwhile_makes_no_link(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = keep(cast)
    allow(cast)

    def meanwhile(*given: Any) -> Any:
        monkeypatch.undo()
        allow(cast, None)
        return version_of(*given)

    monkeypatch.setattr("secrets_app.services.share.version_of", meanwhile)
    with pytest.raises(Conflict, match="changed"):
        share(cast, secret)
    assert not Share.objects.exists()


def test_a_protected_environment_has_none_and_protection_takes_the_setting_away(cast: Cast) -> None:
    alice, place = cast.principal(cast.alice), Environment.objects.get(pk=cast.production.pk)
    place.protected = True
    place.save()
    with pytest.raises(InvalidField, match="protected environment"):
        update_environment(actor=alice, environment=place, outside_hours=4)
    allow(cast)
    _protect(cast)
    place = Environment.objects.get(pk=cast.development.pk)
    update_environment(actor=alice, environment=place, description="protected now")
    assert Environment.objects.get(pk=place.pk).outside_hours is None


# --- The pages ---------------------------------------------------------------------------------------


def test_the_page_opens_by_a_click_once_and_keeps_nothing(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    secret = keep(cast)
    allow(cast)
    made = signed_in(cast.bob).post(
        f"/secrets/{secret.pk}/share", {"to": "phrase", "hours": "24", "note": "the new key"}
    )
    link, phrase = made.context["link"], made.context["made"].phrase
    assert phrase in made.content.decode()
    page, _, code = link.removeprefix("http://testserver").partition("#")
    stranger = Client(enforce_csrf_checks=True)

    for _ in range(2):
        look = stranger.get(page)
        assert look.status_code == 200
        assert look.headers["Referrer-Policy"] == "no-referrer"
        assert "no-store" in look.headers["Cache-Control"]
        assert not look.cookies
    asked = stranger.post(page, {"code": code})
    text = asked.content.decode()
    assert ("the new key" in text, VALUE in text, secret.name in text) == (True, False, False)
    for empty in ({"act": "open"}, {"act": "open", "proof": ""}):
        assert stranger.post(page, {"code": code, **empty}).status_code == 422
    assert Share.objects.get().tries == 0
    wrong = stranger.post(page, {"code": code, "act": "open", "proof": "wrong"})
    assert (wrong.status_code, "4 tries left" in wrong.content.decode()) == (422, True)

    form = {"code": code, "act": "open", "proof": phrase}
    shown = stranger.post(page, form)

    assert (shown.status_code, VALUE in shown.content.decode()) == (200, True)
    assert "no-store" in shown.headers["Cache-Control"]
    assert shown.headers["Referrer-Policy"] == "no-referrer"
    for again in (stranger.post(page, form), stranger.post(page, {"code": code})):
        assert again.status_code == 410
        assert VALUE not in again.content.decode()
    unknown = stranger.post(page, {"code": "unknown"})
    assert (unknown.status_code, unknown.content) == (410, again.content)


def test_too_many_guesses_are_answered_with_when_to_come_back(settings: Settings, cast: Cast) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 1
    client = Client()
    assert client.post("/shared", {"code": "a"}).status_code == 410
    turned_away = client.post("/shared", {"code": "a"})
    assert turned_away.status_code == 429
    assert int(turned_away.headers["Retry-After"]) > 0


def test_a_link_by_e_mail_is_asked_for_on_the_page(
    cast: Cast, signed_in: Callable[[User], Client], mailed: Callable[[], str]
) -> None:
    secret = keep(cast)
    allow(cast)
    sharer = signed_in(cast.bob)
    form = {"to": "email", "address": ADDRESS, "hours": "24"}
    made = sharer.post(f"/secrets/{secret.pk}/share", form)
    code = made.context["link"].partition("#")[2]
    stranger = Client()
    look = stranger.post("/shared", {"code": code}).content.decode()
    assert ("Send the code" in look, ADDRESS in look) == (True, False)
    sent = stranger.post("/shared", {"code": code, "act": "send"})
    assert "on its way" in sent.content.decode()
    assert stranger.post("/shared", {"code": code, "act": "send"}).status_code == 422
    shown = stranger.post("/shared", {"code": code, "act": "open", "proof": mailed()})
    assert VALUE in shown.content.decode()


def test_colleagues_alone_are_offered_where_the_environment_says_nothing(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    secret, sharer = keep(cast), signed_in(cast.bob)
    assert 'name="to"' not in sharer.get(f"/secrets/{secret.pk}/share").content.decode()
    made = sharer.post(f"/secrets/{secret.pk}/share", {"to": "phrase", "hours": "24"})
    assert made.context["made"].share.outside == ""
    allow(cast)
    assert 'value="phrase"' in sharer.get(f"/secrets/{secret.pk}/share").content.decode()


def test_managers_see_the_open_links_of_an_environment_and_end_them(
    cast: Cast, signed_in: Callable[[User], Client], made: outside.OutsideShare
) -> None:
    manager = signed_in(cast.alice)
    assert "someone outside" in manager.get("/environments/development").content.decode()
    path = f"/secrets/{made.share.secret.pk}/shares/{made.share.pk}/revoke"
    ended = manager.post(path, {"from": "environment"})
    assert ended["Location"] == "/environments/development#links"
    assert "someone outside" not in manager.get("/environments/development").content.decode()
    with pytest.raises(ShareEnded):
        opened(made.link, made.phrase)


def test_managers_allow_them_by_the_api_as_on_the_page(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    manager, path = signed_in(cast.alice), "/api/environments/development"
    assert manager.get(path).json()["outside_hours"] is None
    for hours, status in ((12, 200), (0, 400), (169, 400)):
        answer = manager.patch(path, {"outside_hours": hours}, content_type="application/json")
        assert answer.status_code == status
    assert manager.get(path).json()["outside_hours"] == 12
    assert b'name="outside_hours" value="12"' in manager.get("/environments/development").content


def test_the_menu_offers_it_where_it_is_allowed(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    secret, sharer = keep(cast), signed_in(cast.bob)
    offered = f"/secrets/{secret.pk}/share?to=phrase"
    assert offered not in sharer.get(f"/secrets/{secret.pk}").content.decode()
    allow(cast)
    assert offered in sharer.get(f"/secrets/{secret.pk}").content.decode()
    assert 'value="phrase" selected' in sharer.get(offered).content.decode()
