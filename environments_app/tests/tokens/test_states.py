"""Every door asks of a token what state it is in: the text, a session sealed from it, and the row alone."""

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from django.utils import timezone
from pytest_django import Settings

from environments_app.authorization.principals import system_principal
from environments_app.errors import (
    BadToken,
    ConfirmationNeeded,
    Conflict,
    Forbidden,
    InvalidField,
    Invisible,
    TooManyRequests,
)
from environments_app.models import PersonalToken, ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens import authentication, bearers, personal, request_rate, service
from environments_app.tokens.bearers import bearer_of, session_bearer
from environments_app.tokens.expiry_alerts import token_status
from environments_app.tokens.rotation import MAX_OVERLAP, rotate
from environments_app.trusts.sign_in import sign_in

pytestmark = pytest.mark.django_db
HERE = "192.0.2.7"
HOUR = timedelta(hours=1)


class Kind(NamedTuple):
    """One kind of token, made."""

    row: Any
    text: str


def reason(door: Callable[[], object]) -> str:
    """Return why a door refuses, as the audit log counts it."""
    with pytest.raises(BadToken) as refused:
        door()
    return refused.value.reason


def service_token(cast: Cast) -> Kind:
    return Kind(*service.issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci",
        cidrs=["192.0.2.0/24"],
    ))  # fmt: skip


def personal_token(cast: Cast) -> Kind:
    return Kind(*personal.issue_personal(actor=cast.principal(cast.bob), name="laptop"))


KINDS: dict[str, Callable[[Cast], Kind]] = {"service": service_token, "personal": personal_token}
ENDED: dict[str, tuple[dict[str, Any], str]] = {
    "revoked": ({"revoked_at": 0}, "revoked-token"),
    "suspended": ({"suspended_at": 0}, "suspended-token"),
    "expired": ({"expires_at": 0}, "expired-token"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ENDED)
def test_each_end_is_seen_at_each_door(cast: Cast, kind: str, state: str) -> None:
    row, text = KINDS[kind](cast)
    sealed, _ = bearers.begin_session(text, address=HERE)
    doors: list[Callable[[], object]] = [
        lambda: bearer_of(text, address=HERE),
        lambda: session_bearer(sealed.public_id, address=HERE),
    ]
    for door in doors:
        assert door()
    changes, counted = ENDED[state]
    for name in changes:
        setattr(row, name, timezone.now())
    row.save()
    for door in doors:
        # A door that finds a service token ended does not look for a personal one.
        assert reason(door) == counted
    if isinstance(row, ServiceToken):
        assert token_status(row) == state


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_whose_pepper_is_gone_opens_nothing(
    cast: Cast, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, text = KINDS[kind](cast)
    sealed, _ = bearers.begin_session(text, address=HERE)
    for module in (authentication, personal):
        monkeypatch.setattr(module, "hash_secret", lambda *_args, **_options: None)
    for door in (
        lambda: bearer_of(text, address=HERE),
        lambda: session_bearer(sealed.public_id, address=HERE),
    ):
        assert reason(door) == "unknown-token"


def test_a_session_of_a_token_opens_nothing_from_elsewhere(cast: Cast) -> None:
    _, text = service_token(cast)
    sealed, _ = bearers.begin_session(text, address=HERE)
    assert reason(lambda: session_bearer(sealed.public_id, address="198.51.100.1")) == "token-from-elsewhere"


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_is_of_the_token_that_began_it(cast: Cast, kind: str) -> None:
    (first, text), (second, other) = KINDS[kind](cast), KINDS[kind](cast)
    for row, given in ((first, text), (second, other)):
        assert bearers.begin_session(given, address=HERE)[0].public_id == row.public_id


def test_a_session_that_nobody_has_is_refused(cast: Cast) -> None:
    assert reason(lambda: session_bearer("A" * 20, address=HERE)) == "unknown-token"


def test_a_token_that_administers_begins_no_session(cast: Cast) -> None:
    _, text = service.issue(
        actor=system_principal(is_admin=True), environment=None, role="admin", name="admin"
    )
    assert bearer_of(text, address=HERE).is_admin
    assert reason(lambda: bearers.begin_session(text, address=HERE)) == "token-without-environment"


def test_a_session_ends_with_its_token_at_the_latest(cast: Cast) -> None:
    row, text = service_token(cast)
    session, _ = bearers.begin_session(text, address=HERE)
    assert HOUR - timedelta(minutes=1) < session.expires_at - timezone.now() <= bearers.LIFETIME
    row.expires_at = timezone.now() + timedelta(minutes=5)
    row.save()
    session, _ = bearers.begin_session(text, address=HERE)
    assert timedelta(minutes=4) < session.expires_at - timezone.now() <= timedelta(minutes=5)
    assert not session.is_over


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: b"\x09" + stored[1:],
        lambda stored: stored[:17],
        lambda _stored: b"",
    ],
    ids=["another version", "nothing sealed", "empty"],
)
def test_a_text_of_another_form_is_no_session(cast: Cast, change: Callable[[bytes], bytes]) -> None:
    _, text = bearers.begin_session(service_token(cast).text, address=HERE)
    stored = base64.urlsafe_b64decode(text)
    assert bearers.open_session(text).public_id
    changed = base64.urlsafe_b64encode(change(stored)).decode()
    assert reason(lambda: bearers.open_session(changed)) == "malformed-session"


@pytest.mark.parametrize(
    "other", [lambda text: text + "=", lambda text: text + "AAAA", lambda text: f"{text}\n"]
)
def test_another_spelling_of_a_session_is_none(cast: Cast, other: Callable[[str], str]) -> None:
    _, text = bearers.begin_session(service_token(cast).text, address=HERE)
    with pytest.raises(BadToken):
        bearers.open_session(other(text))


@pytest.mark.parametrize("overlap", [-timedelta(seconds=1), MAX_OVERLAP + timedelta(seconds=1)])
def test_an_overlap_is_limited(cast: Cast, overlap: timedelta) -> None:
    row, _ = service_token(cast)
    with pytest.raises(InvalidField, match="0 to 30 days"):
        rotate(actor=cast.principal(cast.alice), token=row, overlap=overlap)
    assert ServiceToken.objects.count() == 1
    assert rotate(actor=cast.principal(cast.alice), token=row, overlap=MAX_OVERLAP)


def test_the_token_of_a_workload_is_not_rotated(cast: Cast) -> None:
    signer = Issuer()
    trust = make_trust(cast, signer)
    sign_in(trust_name=trust.name, jwt=signer.sign(), address=HERE)
    row = ServiceToken.objects.get(trust_uuid=trust.uuid)
    with pytest.raises(Conflict, match="workload"):
        rotate(actor=cast.principal(cast.alice), token=row, overlap=timedelta())
    assert ServiceToken.objects.get() == row


def test_a_token_that_administers_has_no_prefix(cast: Cast) -> None:
    with pytest.raises(InvalidField) as refused:
        service.issue(
            actor=system_principal(is_admin=True), environment=None, role="admin", name="a", prefix="part"
        )
    assert refused.value.field == "prefix"
    assert not ServiceToken.objects.exists()


def test_the_last_use_is_written_once_a_minute(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    start = timezone.now()

    def use(row: ServiceToken | PersonalToken, after: timedelta) -> tuple[datetime | None, str | None]:
        monkeypatch.setattr("django.utils.timezone.now", lambda: start + after)
        fresh: Any = type(row).objects.get(pk=row.pk)
        authentication.note_use(fresh, f"192.0.2.{int(after.total_seconds())}")
        stored: Any = type(row).objects.get(pk=row.pk)
        return stored.last_used_at, stored.last_used_address

    others = [service_token(cast).row, personal_token(cast).row]
    for row in (service_token(cast).row, personal_token(cast).row):
        assert use(row, timedelta()) == (start, "192.0.2.0")
        assert use(row, timedelta(seconds=59)) == (start, "192.0.2.0")
        assert use(row, timedelta(seconds=61)) == (start + timedelta(seconds=61), "192.0.2.61")
        # Another process has written it meanwhile: what it wrote stays.
        monkeypatch.setattr("django.utils.timezone.now", lambda: start + timedelta(seconds=62))
        authentication.note_use(row, "192.0.2.99")
        assert type(row).objects.get(pk=row.pk).last_used_address == "192.0.2.61"
    for row in others:
        assert type(row).objects.get(pk=row.pk).last_used_at is None


@pytest.mark.parametrize("kind", KINDS)
def test_each_use_counts_towards_the_limit_and_is_noted(cast: Cast, kind: str, settings: Settings) -> None:
    settings.KEEPER_TOKEN_REQUESTS_PER_MINUTE = 2
    request_rate.forget_requests()
    row, text = KINDS[kind](cast)
    for _ in range(2):
        bearer_of(text, address=HERE)
    for _ in range(2):
        with pytest.raises(TooManyRequests) as refused:
            bearer_of(text, address=HERE)
        assert 0 < refused.value.retry_after <= 60
    stored = type(row).objects.get(pk=row.pk)
    assert (stored.last_used_at is not None, stored.last_used_address) == (True, HERE)
    # Another token has its own, what is taken back does not count, and 0 is no limit.
    _, other = KINDS[kind](cast) if kind == "service" else service_token(cast)
    bearer_of(other, address=HERE)
    request_rate.take_back_request(row.public_id)
    request_rate.take_back_request(row.public_id)
    request_rate.take_back_request(row.public_id)
    bearer_of(text, address=HERE)
    settings.KEEPER_TOKEN_REQUESTS_PER_MINUTE = 0
    for _ in range(4):
        bearer_of(text, address=HERE)


def test_who_issues_rotates_and_revokes(cast: Cast) -> None:
    row, _ = service_token(cast)
    stale = replace(cast.principal(cast.alice), confirmed=False)
    for actor, error in (
        (cast.principal(cast.erin), Forbidden),
        (cast.principal(cast.charlie), Invisible),
        (stale, ConfirmationNeeded),
    ):
        for role in ("viewer", "reader"):
            with pytest.raises(error):
                service.issue(actor=actor, environment=cast.development, role=role, name="mine")
        with pytest.raises(error):
            rotate(actor=actor, token=row, overlap=timedelta())
    for other in (cast.erin, cast.charlie):
        with pytest.raises((Forbidden, Invisible)):
            service.revoke(actor=cast.principal(other), token=row)
    assert ServiceToken.objects.get().revoked_at is None
    service.revoke(actor=stale, token=row)
    assert ServiceToken.objects.get().revoked_at is not None


@pytest.mark.parametrize("name", ["system", " ci", "c\ni", "", "x" * 300])
def test_what_is_no_name_is_refused(cast: Cast, name: str) -> None:
    with pytest.raises(InvalidField):
        service.issue(
            actor=cast.principal(cast.alice), environment=cast.development, role="reader", name=name
        )
    assert not ServiceToken.objects.exists()
