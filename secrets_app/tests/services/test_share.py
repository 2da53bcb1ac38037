"""Sharing once: one person, one time, recorded before it is opened; and never by a row alone."""

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import system
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from environments_app.authorization.principals import system_principal, token_principal
from environments_app.environments.deletion import delete_environment
from environments_app.errors import Forbidden, InvalidField, Invisible
from environments_app.models import Membership, User
from environments_app.tests.cast import Cast, make_cast
from environments_app.tokens.service import issue
from secrets_app.errors import GuardedValue, KeyUnavailable, ShareEnded, TamperedSecret
from secrets_app.models import Secret, SecretVersion, Share
from secrets_app.services import lifecycle
from secrets_app.services import share as share_service
from secrets_app.services.guarded import guard
from secrets_app.services.read import version_of
from secrets_app.tests.at_once import at_once
from secrets_app.tests.kept import VALUE, change, keep

pytestmark = pytest.mark.every_database_weekly

Events = Callable[..., list[AuditEvent]]


def share(cast: Cast, secret: Secret, *, by: User | None = None, to: User | None = None) -> str:
    _, link = share_service.share_once(actor=cast.principal(by or cast.bob), secret=secret, recipient=to)
    return link


def opened(cast: Cast, who: User, link: str) -> str:
    return share_service.open_share(actor=cast.principal(who), link=link).value


def test_a_named_person_sees_the_pinned_version_one_time(cast: Cast, events: Events) -> None:
    secret = keep(cast)
    link = share(cast, secret, to=cast.charlie)
    change(cast, secret, "later")
    for stranger in (cast.vera, cast.root, cast.alice):
        with pytest.raises(Invisible):
            opened(cast, stranger, link)

    assert opened(cast, cast.charlie, link) == VALUE

    with pytest.raises(ShareEnded):
        opened(cast, cast.charlie, link)
    assert len(events("secret.share_open", outcome="allowed")) == 1
    (read,) = events("secret.reveal", actor_name="charlie")
    assert read.object_uuid == secret.uuid
    assert '"shared_by":"bob"' in read.details
    assert list(run_checks()) == []


def test_the_link_stands_nowhere_and_opens_nothing_by_its_hash(cast: Cast) -> None:
    link = share(cast, keep(cast))
    row = Share.objects.get()
    stored = " ".join(str(value) for value in Share.objects.values().get().values())
    assert link not in stored
    assert link not in " ".join(AuditEvent.objects.values_list("details", flat=True))
    for other in (row.link_hash, link[:-1], "", "x" * 5000, "\ud800"):
        with pytest.raises(Invisible):
            opened(cast, cast.charlie, other)


@pytest.mark.parametrize("why", ["expired", "revoked", "right lost", "sharer inactive", "deleted"])
def test_what_no_longer_holds_opens_nothing(cast: Cast, events: Events, why: str) -> None:
    secret = keep(cast)
    link = share(cast, secret)
    row = Share.objects.select_related("environment", "secret__environment", "shared_by").get()
    if why == "expired":
        row.expires_at = timezone.now() - timedelta(seconds=1)
        row.save()
        Share.objects.filter(pk=row.pk).update(expires_at=row.expires_at)
    elif why == "revoked":
        share_service.revoke_share(actor=cast.principal(cast.bob), share=row)
    elif why == "right lost":
        take_away(Membership.objects.filter(user=cast.bob))
    elif why == "sharer inactive":
        cast.bob.is_active = False
        cast.bob.save()
    else:
        lifecycle.delete(actor=cast.principal(cast.alice), secret=row.secret)

    with pytest.raises(ShareEnded if why == "revoked" else Invisible):
        opened(cast, cast.charlie, link)

    assert Share.objects.get().opened_at is None
    assert events("secret.reveal") == []


@pytest.mark.parametrize(
    "edit", ["opened_at = NULL, opened_by_id = NULL", "opened_at = NULL, opened_by_id = NULL, row_mac = %s"]
)
def test_an_opened_share_that_sql_closes_again_stays_opened(
    cast: Cast, sql: Callable[..., None], edit: str
) -> None:
    link = share(cast, keep(cast))
    before = bytes(Share.objects.get().row_mac)
    opened(cast, cast.charlie, link)
    # With the MAC that the row once had, the row proves itself: only the trail knows better.
    sql(f"UPDATE secrets_app_share SET {edit}", *([before] if "row_mac" in edit else []))

    with pytest.raises(Invisible):
        opened(cast, cast.vera, link)

    assert [problem.kind for problem in run_checks()] == ["replayed" if "row_mac" in edit else "share"]


@pytest.mark.parametrize("column", ["number", "recipient_id", "link_hash", "shared_by_id", "secret_id"])
def test_a_share_that_sql_points_elsewhere_opens_nothing(
    cast: Cast, sql: Callable[..., None], column: str
) -> None:
    secret = keep(cast)
    other = keep(cast, "other")
    link = share(cast, secret, to=cast.vera)
    change(cast, secret, "second")
    values = {
        "number": 2,
        "recipient_id": cast.charlie.pk,
        "link_hash": share_service.hash_of("planted"),
        "shared_by_id": cast.alice.pk,
        "secret_id": other.pk,
    }
    sql(f"UPDATE secrets_app_share SET {column} = %s", values[column])
    who = cast.charlie if column == "recipient_id" else cast.vera
    with pytest.raises(Invisible):
        opened(cast, who, "planted" if column == "link_hash" else link)
    event = AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION).latest("pk")
    assert event.object_kind == "share"


def test_who_may_not_reveal_cannot_share(cast: Cast, bearer: Callable[..., Client]) -> None:
    secret = keep(cast)
    with pytest.raises(Forbidden):
        share(cast, secret, by=cast.vera)
    with pytest.raises(Invisible):
        share(cast, secret, by=cast.charlie)
    with pytest.raises(InvalidField):
        share_service.share_once(actor=cast.principal(cast.bob), secret=secret, hours=24 * 365)


def test_a_key_that_is_away_consumes_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    link = share(cast, keep(cast))

    def away(_keys: object) -> None:
        raise KeyUnavailable("away", permanent=False)

    with monkeypatch.context() as patched:
        patched.setattr("secrets_app.keys.data_keys.prefetch", away)
        with pytest.raises(KeyUnavailable):
            opened(cast, cast.charlie, link)
    assert opened(cast, cast.charlie, link) == VALUE


def test_no_value_is_opened_before_the_share_is_consumed(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    link = share(cast, keep(cast))

    def dies(**_options: object) -> str:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(share_service, "open_version", dies)
        with pytest.raises(SystemExit):
            opened(cast, cast.charlie, link)
    with pytest.raises(ShareEnded):
        opened(cast, cast.charlie, link)


def test_what_is_revoked_meanwhile_is_not_opened(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    """The sharer revokes it after it was found open, before it is consumed."""
    link = share(cast, keep(cast))

    def meanwhile(*given: Any) -> SecretVersion:
        monkeypatch.undo()
        share_service.revoke_share(actor=cast.principal(cast.bob), share=Share.objects.get())
        return version_of(*given)

    monkeypatch.setattr("secrets_app.services.share.version_of", meanwhile)
    with pytest.raises(ShareEnded):
        opened(cast, cast.charlie, link)
    assert events("secret.reveal") == []
    assert Share.objects.get().opened_at is None


@pytest.mark.every_database
def test_of_two_who_open_at_once_one_gets_it(transactional_db: None) -> None:
    cast = make_cast()
    link = share(cast, keep(cast))

    got = at_once(lambda: opened(cast, cast.charlie, link), lambda: opened(cast, cast.vera, link))

    assert sorted(one if isinstance(one, str) else type(one).__name__ for one in got) == ["ShareEnded", VALUE]
    assert AuditEvent.objects.filter(action="secret.reveal").count() == 1


@pytest.mark.parametrize(("hours", "may"), [(-1, False), (0, False), (1, True), (168, True), (169, False)])
def test_a_share_lasts_from_an_hour_to_a_week(cast: Cast, hours: int, may: bool) -> None:
    secret, bob = keep(cast), cast.principal(cast.bob)
    if not may:
        with pytest.raises(InvalidField, match="hours"):
            share_service.share_once(actor=bob, secret=secret, hours=hours)
        assert not Share.objects.exists()
        return
    made, _ = share_service.share_once(actor=bob, secret=secret, hours=hours)
    assert timedelta(0) <= timezone.now() + timedelta(hours=hours) - made.expires_at < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("note", "may"), [("", True), ("n" * 200, True), ("n" * 201, False), ("a\nb", False), ("a\x1b[2J", False)]
)
def test_a_note_is_one_short_line(cast: Cast, note: str, may: bool) -> None:
    secret = keep(cast)
    if may:
        share_service.share_once(actor=cast.principal(cast.bob), secret=secret, note=note)
    else:
        with pytest.raises(InvalidField, match="one line"):
            share_service.share_once(actor=cast.principal(cast.bob), secret=secret, note=note)
    assert Share.objects.exists() is may


def test_no_program_shares_and_none_opens(cast: Cast, events: Events) -> None:
    secret = keep(cast)
    token, _ = issue(actor=cast.principal(cast.alice), environment=cast.development, role="editor", name="ci")
    with pytest.raises(Forbidden, match="Only people"):
        share_service.share_once(actor=token_principal(token), secret=secret)
    assert not Share.objects.exists()

    link = share(cast, secret)
    for actor in (token_principal(token), system_principal(), system_principal(is_admin=True)):
        with pytest.raises(Invisible):
            share_service.open_share(actor=actor, link=link)
    assert events("secret.reveal") == []
    assert Share.objects.get().opened_at is None


@pytest.mark.parametrize("what", ["opened", "expired", "from a clock ahead"])
def test_what_ends_at_the_last_moment_is_not_opened(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, events: Events, what: str
) -> None:
    """It was found open, and ends before it is consumed."""
    link = share(cast, keep(cast))
    row, now = Share.objects.filter(), timezone.now()

    def meanwhile(*given: Any) -> SecretVersion:
        monkeypatch.undo()
        if what == "opened":
            assert opened(cast, cast.vera, link) == VALUE
        elif what == "expired":
            row.update(expires_at=now - timedelta(seconds=1))
        else:
            row.update(created_at=now + timedelta(hours=1), expires_at=now + timedelta(days=1))
        return version_of(*given)

    monkeypatch.setattr("secrets_app.services.share.version_of", meanwhile)
    with pytest.raises(ShareEnded):
        opened(cast, cast.charlie, link)
    assert {event.actor_name for event in events("secret.reveal")} == (
        {"vera"} if what == "opened" else set()
    )


@pytest.mark.parametrize("how", ["opened", "revoked"])
def test_what_is_over_is_not_revoked_again(cast: Cast, events: Events, how: str) -> None:
    secret = keep(cast)
    link = share(cast, secret)
    stale = Share.objects.select_related("environment", "secret__environment", "shared_by").get()
    if how == "opened":
        opened(cast, cast.charlie, link)
    else:
        share_service.revoke_share(actor=cast.principal(cast.bob), share=Share.objects.get())
    # Another one that is open is none of it.
    share(cast, secret)
    before, count = list(Share.objects.values()), len(events("secret.share_revoke"))

    share_service.revoke_share(actor=cast.principal(cast.bob), share=stale)

    assert list(Share.objects.values()) == before
    assert len(events("secret.share_revoke")) == count


def test_a_secret_that_was_edited_since_is_not_shown_and_the_share_stays(
    cast: Cast, sql: Callable[..., None], events: Events
) -> None:
    secret = keep(cast)
    link = share(cast, secret)
    change(cast, secret, "later")
    sql("UPDATE secrets_app_secret SET current_number = 1 WHERE id = %s", secret.pk)
    with pytest.raises(TamperedSecret):
        opened(cast, cast.charlie, link)
    assert events("secret.reveal") == []
    assert Share.objects.get().opened_at is None


def test_a_link_to_what_was_guarded_since_is_not_used_up(cast: Cast) -> None:
    secret = keep(cast)
    link = share(cast, secret)
    guard(actor=cast.principal(cast.alice), secret=Secret.objects.get(pk=secret.pk))
    with pytest.raises(GuardedValue):
        opened(cast, cast.charlie, link)
    assert Share.objects.get().opened_at is None


def test_an_ended_account_loses_the_links_from_and_for_it_in_that_environment(cast: Cast) -> None:
    share(cast, keep(cast), to=cast.charlie)
    share(cast, keep(cast, "for-bob"), by=cast.alice, to=cast.bob)
    share(cast, keep(cast, "elsewhere", environment=cast.production), by=cast.alice, to=cast.bob)
    share(cast, keep(cast, "other"), by=cast.alice, to=cast.charlie)
    assert share_service.revoke_all(actor=system(), user=cast.bob, environment=cast.development) == 2
    left = Share.objects.filter(revoked_at=None).values_list("secret__name", flat=True)
    assert {*left} == {"elsewhere", "other"}


def test_a_link_that_sql_made_is_not_sealed_by_the_end_of_an_account(cast: Cast, events: Events) -> None:
    own, forged = share(cast, keep(cast)), share(cast, keep(cast, "other"), to=cast.charlie)
    Share.objects.filter(recipient=cast.charlie).update(recipient=cast.vera)
    ended = share_service.revoke_all(actor=system(), user=cast.bob, environment=cast.development)
    assert (ended, len(events("secret.share_revoke"))) == (1, 1)
    assert not Share.objects.get(recipient=cast.vera).is_authentic()
    for link, who in ((own, cast.charlie), (forged, cast.vera)):
        with pytest.raises((Invisible, ShareEnded)):
            opened(cast, who, link)


def test_who_may_neither_share_nor_change_the_secret_revokes_nothing(cast: Cast) -> None:
    share(cast, keep(cast))
    for user, refusal in ((cast.vera, Forbidden), (cast.charlie, Invisible)):
        with pytest.raises(refusal):
            share_service.revoke_share(actor=cast.principal(user), share=Share.objects.get())
    assert Share.objects.get().revoked_at is None
    share_service.revoke_share(actor=cast.principal(cast.erin), share=Share.objects.get())
    assert Share.objects.get().revoked_at


# --- The pages -----------------------------------------------------------------------------------


def test_the_pages_share_and_show_once_by_post(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    secret = keep(cast)
    sharer, reader = signed_in(cast.bob), signed_in(cast.charlie)
    form = {"recipient": "someone@example.com", "hours": "24"}
    refused = sharer.post(f"/secrets/{secret.pk}/share", form).content.decode()
    assert "a manager allows links for people outside" in refused
    settings_link = f'href="/environments/{secret.environment.name}#settings"'
    assert settings_link not in refused
    assert settings_link in signed_in(cast.alice).get(f"/secrets/{secret.pk}/share").content.decode()
    made = sharer.post(
        f"/secrets/{secret.pk}/share", {"recipient": "charlie", "hours": "24", "note": "for the move"}
    )
    # It is shown this once, so to copy it is the button; how to make one is over.
    assert "Copy link</button>" in made.content.decode()
    assert "Create a one-time link" not in made.content.decode()
    link = made.context["link"].removeprefix("http://testserver")
    assert Client().get(link).status_code == 302
    assert signed_in(cast.vera).post(link).status_code == 404
    for _ in range(2):
        look = reader.get(link).content.decode()
        assert ("for the move" in look, VALUE in look, secret.name in look) == (True, False, False)

    shown = reader.post(link)

    assert VALUE in shown.content.decode()
    assert "no-store" in shown.headers["Cache-Control"]
    for again in (reader.post(link), reader.get(link)):
        assert again.status_code == 410
        assert "This link was already used or has expired." in again.content.decode()
    assert signed_in(cast.vera).get(link).status_code == 404


@pytest.mark.parametrize("end", ["used", "expired", "revoked"])
def test_an_ended_link_says_so_to_whom_it_was_for_and_to_nobody_else(
    cast: Cast, events: Events, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    named, open_to_all = share(cast, keep(cast, "a"), to=cast.charlie), share(cast, keep(cast, "b"))
    if end == "expired":
        later = timezone.now() + timedelta(days=2)
        monkeypatch.setattr("secrets_app.models.share.timezone", SimpleNamespace(now=lambda: later))
    for row in Share.objects.select_related("environment", "secret__environment", "shared_by"):
        if end == "revoked":
            share_service.revoke_share(actor=cast.principal(cast.bob), share=row)
    if end == "used":
        opened(cast, cast.charlie, named)
        opened(cast, cast.charlie, open_to_all)

    for who, link in ((cast.charlie, named), (cast.charlie, open_to_all), (cast.vera, open_to_all)):
        with pytest.raises(ShareEnded):
            share_service.find_share(actor=cast.principal(who), link=link)
    for stranger in (cast.vera, cast.root):
        with pytest.raises(Invisible) as refused:
            share_service.find_share(actor=cast.principal(stranger), link=named)
        assert type(refused.value) is Invisible
    assert len(events("secret.share_open", outcome="denied")) == 5


def test_nobody_learns_anything_of_a_link_whose_environment_was_deleted(cast: Cast, events: Events) -> None:
    used, unused = share(cast, keep(cast, "a"), to=cast.charlie), share(cast, keep(cast, "b"))
    opened(cast, cast.charlie, used)
    delete_environment(actor=system_principal(is_admin=True), environment=cast.development)
    for link in (used, unused):
        with pytest.raises(Invisible):
            opened(cast, cast.charlie, link)
    assert events("secret.share_open", outcome="denied") == []


def test_a_suspended_account_learns_nothing_of_an_ended_link(cast: Cast) -> None:
    link = share(cast, keep(cast), to=cast.charlie)
    opened(cast, cast.charlie, link)
    cast.charlie.suspended_at = timezone.now()
    cast.charlie.save()
    with pytest.raises(Invisible) as refused:
        share_service.find_share(actor=cast.principal(cast.charlie), link=link)
    assert type(refused.value) is Invisible


def test_a_share_is_listed_and_revoked_on_the_page_of_its_secret(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    secret = keep(cast)
    link = share(cast, secret, to=cast.charlie)
    row = Share.objects.get()
    page = signed_in(cast.alice).get(f"/secrets/{secret.pk}").content.decode()
    assert f"/secrets/{secret.pk}/shares/{row.pk}/revoke" in page
    assert signed_in(cast.vera).post(f"/secrets/{secret.pk}/shares/{row.pk}/revoke").status_code == 403
    assert signed_in(cast.alice).post(f"/secrets/{secret.pk}/shares/{row.pk}/revoke").status_code == 302
    with pytest.raises(ShareEnded):
        opened(cast, cast.charlie, link)
