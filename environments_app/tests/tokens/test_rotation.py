import re
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authorization.policy import Principal
from environments_app.authorization.rows import access_rows
from environments_app.errors import (
    AccessError,
    BadToken,
    ConfirmationNeeded,
    Conflict,
    Forbidden,
    InvalidField,
)
from environments_app.models import Alert, ServiceToken, User
from environments_app.tests.cast import Cast
from environments_app.tokens.authentication import authenticate
from environments_app.tokens.expiry_alerts import EXPIRING, UNUSED, token_status, watch_tokens
from environments_app.tokens.rotation import narrow, rotate
from environments_app.tokens.service import issue, revoke

pytestmark = pytest.mark.every_database_weekly
Events = Callable[..., list[AuditEvent]]
DAY = timedelta(days=1)


def made(cast: Cast, **options: Any) -> tuple[ServiceToken, str]:
    given = {"role": "editor", "name": "ci", **options}
    return issue(actor=cast.principal(cast.alice), environment=cast.development, **given)


def lets_in(text: str, address: str = "192.0.2.9") -> bool:
    try:
        authenticate(text, address=address)
    except BadToken:
        return False
    return True


def test_both_are_valid_until_the_overlap_is_over(
    cast: Cast, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, old = made(cast, prefix="pay", cidrs=["192.0.2.0/24"])
    before = token.expires_at
    new_token, new = rotate(actor=cast.principal(cast.alice), token=token, overlap=timedelta(hours=1))
    assert (lets_in(old), lets_in(new), lets_in(new, "198.51.100.1")) == (True, True, False)
    assert (new_token.role, new_token.prefix, new_token.replaces) == ("editor", "pay", token)
    assert before is not None
    assert new_token.expires_at is not None
    assert abs(new_token.expires_at - before) < timedelta(minutes=5)
    assert not list(access_rows())
    assert [event.object_name for event in events(Action.TOKEN_CHANGE)] == ["ci"]
    later = timezone.now() + timedelta(hours=1, seconds=1)
    monkeypatch.setattr("environments_app.models.access.timezone.now", lambda: later)
    assert (lets_in(old), lets_in(new)) == (False, True)


def test_an_overlap_never_prolongs_a_token(cast: Cast) -> None:
    end = timezone.now() + timedelta(minutes=5)
    token, _ = made(cast, expires_at=end)
    rotate(actor=cast.principal(cast.alice), token=token, overlap=DAY)
    assert ServiceToken.objects.get(pk=token.pk).expires_at == end
    other, text = made(cast)
    rotate(actor=cast.principal(cast.alice), token=other, overlap=timedelta(0))
    assert not lets_in(text)


def test_a_token_has_one_successor_and_an_ended_one_none(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    token, _ = made(cast)
    stale = ServiceToken.objects.get(pk=token.pk)
    rotate(actor=alice, token=token)
    with pytest.raises(Conflict):
        rotate(actor=alice, token=stale)
    ended, _ = made(cast)
    revoke(actor=alice, token=ended)
    for act in (rotate, narrow):
        with pytest.raises(Conflict):
            act(actor=alice, token=ended)
    assert ServiceToken.objects.count() == 3


def test_it_takes_a_manager_who_signed_in_of_late(cast: Cast, events: Events) -> None:
    token, _ = made(cast)
    with pytest.raises(Forbidden):
        rotate(actor=cast.principal(cast.erin), token=token)
    with pytest.raises(Forbidden):
        narrow(actor=cast.principal(cast.erin), token=token, role="viewer")
    alice = cast.principal(cast.alice)
    with pytest.raises(ConfirmationNeeded):
        rotate(actor=Principal(**{**vars(alice), "confirmed": False}), token=token)
    # An administrator gets hold of a token that reads values: in the open.
    rotate(actor=cast.principal(cast.root), token=token)
    assert [event.actor_name for event in events(Action.BREAK_GLASS)] == ["root"]


@pytest.mark.parametrize(
    ("given", "less"),
    [
        ({"role": "reader"}, True),
        ({"role": "manager"}, False),
        ({"role": "admin"}, False),
        ({"prefix": "pay/cards"}, True),
        ({"prefix": "pay"}, True),
        ({"prefix": "payments"}, False),
        ({"prefix": ""}, False),
        ({"cidrs": ["192.0.2.0/25", "192.0.2.128/26"]}, True),
        ({"cidrs": ["192.0.2.0/23"]}, False),
        ({"cidrs": ["192.0.2.0/25", "10.0.0.0/8"]}, False),
        ({"cidrs": ["2001:db8::/32"]}, False),
        ({"cidrs": []}, False),
        ({"expires_at": DAY}, True),
        ({"expires_at": 3 * DAY}, False),
        ({"expires_at": None}, False),
        ({"name": "other"}, False),
    ],
    ids=str,
)
def test_a_token_is_only_ever_given_less(cast: Cast, given: dict[str, Any], less: bool) -> None:
    token, _ = made(cast, prefix="pay", cidrs=["192.0.2.0/24"], expires_at=timezone.now() + 2 * DAY)
    changes = {
        name: timezone.now() + value if isinstance(value, timedelta) else value
        for name, value in given.items()
    }
    before = {name: getattr(ServiceToken.objects.get(pk=token.pk), name) for name in changes}
    with nullcontext() if less else pytest.raises(InvalidField):
        narrow(actor=cast.principal(cast.alice), token=token, **changes)
    stored = ServiceToken.objects.get(pk=token.pk)
    assert {name: getattr(stored, name) for name in changes} == (changes if less else before)
    assert not list(access_rows())


def test_one_that_administers_keeps_its_role(cast: Cast) -> None:
    root = cast.principal(cast.root)
    token, text = issue(actor=root, environment=None, role="admin", name="ops")
    for changes in ({"role": "viewer"}, {"prefix": "pay"}):
        with pytest.raises(AccessError):
            narrow(actor=root, token=token, **changes)
    narrow(actor=root, token=token, cidrs=["10.0.0.0/8"])
    assert not lets_in(text)


def test_the_default_and_the_longest_life(cast: Cast, settings: Settings) -> None:
    def days(**options: Any) -> int | None:
        end = made(cast, **options)[0].expires_at
        return round((end - timezone.now()) / DAY) if end else None

    assert (days(), days(expires_at=None)) == (90, None)
    settings.KEEPER_TOKEN_MAX_DAYS = 30
    assert (days(), days(expires_at=timezone.now() + 30 * DAY)) == (30, 30)
    for end in (None, timezone.now() + 31 * DAY):
        with pytest.raises(InvalidField):
            days(expires_at=end)
    settings.KEEPER_TOKEN_DEFAULT_DAYS, settings.KEEPER_TOKEN_MAX_DAYS = 0, 0
    old, _ = made(cast)
    settings.KEEPER_TOKEN_MAX_DAYS = 30
    new, _ = rotate(actor=cast.principal(cast.alice), token=old)
    assert new.expires_at is not None
    assert new.expires_at <= timezone.now() + 30 * DAY


def test_an_environment_is_told_before_tokens_end_and_when_nobody_uses_them(cast: Cast) -> None:
    watch_tokens()
    assert not Alert.objects.exists()
    soon, _ = made(cast, name="ends-soon", expires_at=timezone.now() + 3 * DAY)
    made(cast, name="lives-on")
    idle, _ = made(cast, name="idle", expires_at=None)
    ServiceToken.objects.filter(pk=idle.pk).update(created_at=timezone.now() - 91 * DAY)
    replaced, _ = made(cast, name="replaced")
    rotate(actor=cast.principal(cast.alice), token=replaced)
    for _ in range(2):
        watch_tokens()
    lines = {
        alert.kind: " ".join(alert.lines) for alert in Alert.objects.filter(environment=cast.development)
    }
    assert {kind: [name for name in ("ends-soon", "lives-on", "idle", "replaced") if name in text] for kind, text in lines.items()} == {EXPIRING: ["ends-soon"], UNUSED: ["idle"]}  # fmt: skip
    assert [token_status(ServiceToken.objects.get(pk=token.pk)) for token in (soon, idle)] == [
        "expiring",
        "unused",
    ]
    for token in (soon, idle):
        revoke(actor=cast.principal(cast.alice), token=token)
    watch_tokens()
    assert not Alert.objects.filter(open=True).exists()


def test_two_tokens_of_one_name_are_told_apart(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    pair = [made(cast, name="ci", expires_at=timezone.now() + 3 * DAY)[0] for _ in range(2)]
    watch_tokens()
    lines = Alert.objects.get(kind=EXPIRING).lines
    browser = signed_in(cast.alice)
    lists = [browser.get(path).content.decode() for path in ("/tokens", "/environments/development")]
    for token, other in (pair, pair[::-1]):
        start = f"kpr_{token.public_id[:8]}…"
        assert sum(start in line for line in lines) == 1
        assert all(start in page for page in lists)
        page = browser.get(f"/environments/development/tokens/{token.pk}").content.decode()
        # An event has it as its actor, or as its resource.
        assert start in page
        assert str(token.uuid) in page
        assert str(other.uuid) not in page


def test_the_pages_narrow_rotate_and_show_the_text_once(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    token, old = made(cast)
    browser, path = signed_in(cast.alice), f"/environments/development/tokens/{token.pk}"
    assert browser.post(f"{path}/narrow", {"role": "manager"}).status_code == 422
    assert browser.post(f"{path}/narrow", {"role": "reader", "cidrs": "192.0.2.0/24"}).status_code == 302
    shown = browser.post(f"{path}/rotate", {"overlap_hours": "2"}).content.decode()
    new = ServiceToken.objects.get(replaces=token)
    assert f"kpr_{new.public_id}_" in shown
    page = browser.get(path).content.decode()
    assert "Replaced by" in page
    assert "192.0.2.0/24" in page
    assert browser.post(f"{path}/rotate", {"overlap_hours": "2"}).status_code == 422
    assert lets_in(old)
    for text in (old, shown.split(f"kpr_{new.public_id}_")[1][:43]):
        assert text not in page


def test_the_pages_do_so_for_tokens_that_administer(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    browser, place = signed_in(cast.root), "/tokens/installation"
    for name in (b"Admin tokens", b"Personal tokens"):
        assert name in browser.get("/tokens").content
        assert name not in signed_in(cast.alice).get("/tokens").content
    shown = browser.post(f"{place}/issue", {"name": "terraform"}).content.decode()
    token = ServiceToken.objects.get(name="terraform")
    text = re.findall(r"kpr_[A-Za-z0-9_-]{20,}", shown)[0]
    assert (token.role, token.environment) == ("admin", None)
    assert lets_in(text)
    path = f"{place}/{token.pk}"
    assert browser.post(f"{path}/narrow", {"cidrs": "192.0.2.0/24"}).status_code == 302
    page = browser.get(path).content.decode()
    assert "192.0.2.0/24" in page
    assert text not in page
    rotated = browser.post(f"{path}/rotate", {"overlap_hours": "0"}).content.decode()
    new = ServiceToken.objects.get(replaces=token)
    assert (new.role, new.networks) == ("admin", ["192.0.2.0/24"])
    assert f"kpr_{new.public_id}_" in rotated
    assert not lets_in(text)
    assert browser.post(f"{place}/{new.pk}/revoke").status_code == 302
    assert ServiceToken.objects.get(pk=new.pk).revoked_at is not None
    assert "terraform" in browser.get(place).content.decode()


def test_the_api_narrows_and_rotates(cast: Cast, bearer: Callable[..., Client]) -> None:
    token, _ = made(cast)
    client, path = bearer("manager", cast.development), f"/api/environments/development/tokens/{token.pk}"
    changed = client.patch(path, {"role": "viewer"}, content_type="application/json").json()
    assert (changed["role"], changed["state"]) == ("viewer", "active")
    refused = client.patch(path, {"role": "editor"}, content_type="application/json")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "role")
    answer = client.post(f"{path}/rotate", {"overlap_seconds": 60}, content_type="application/json").json()
    assert (answer["replaces"], lets_in(answer["token"])) == (token.pk, True)
