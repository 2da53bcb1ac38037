"""What a request gets whose session has ended: the way back to a page, or an answer for scripts."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from pytest_django import Settings

from environments_app.middleware import opens_by_get
from environments_app.models import Session, User
from environments_app.sessions.store import stored_key
from environments_app.tests.cast import PASSWORD, Cast

pytestmark = pytest.mark.django_db

SITE = "http://testserver"


def sent(path: str, *, referer: str = "", **headers: str) -> Any:
    """Send a form without a session."""
    return Client().post(path, {}, headers={**({"referer": referer} if referer else {}), **headers})


@pytest.mark.parametrize(
    ("path", "referer", "back"),
    [
        ("/secrets/3/rollback", f"{SITE}/secrets/3", "%2Fsecrets%2F3"),
        ("/secrets/3/edit", f"{SITE}/secrets/3/edit", "%2Fsecrets%2F3%2Fedit"),
        ("/secrets/bulk", f"{SITE}/secrets?q=a&type=JSON", "%2Fsecrets%3Fq%3Da%26type%3DJSON"),
        # The preview of a bulk action is the answer to a form: its address takes no GET.
        ("/secrets/bulk", f"{SITE}/secrets/bulk", "%2Fsecrets"),
        # Of one that takes a GET, that leads on to its page.
            ("/environments/x/members", f"{SITE}/environments/x/members", "%2Fenvironments%2Fx%2Fmembers"),
        ("/profile/password", "", "%2Fprofile%2Fpassword"),
        ("/secrets/3/rollback", "", "%2Fsecrets%2F3"),
        ("/secrets/3/rollback", "https://evil.example/secrets/4", "%2Fsecrets%2F3"),
        ("/secrets/3/rollback", "//evil.example/secrets/4", "%2Fsecrets%2F3"),
        ("/secrets/3/rollback", "javascript:alert(1)", "%2Fsecrets%2F3"),
        ("/secrets/3/rollback", f"{SITE}/no/such/page", "%2F"),
        ("/admin/environments_app/user/add/", f"{SITE}/admin/environments_app/user/add/", "%2Fadmin%2Fenvironments_app%2Fuser%2Fadd%2F"),
    ],
)  # fmt: skip
def test_a_form_leads_back_to_the_page_that_it_was_on(path: str, referer: str, back: str) -> None:
    answer = sent(path, referer=referer)
    assert (answer.status_code, answer["Location"]) == (302, f"/sign-in?next={back}&expired=1")


def test_the_sign_in_page_says_that_nothing_was_saved(cast: Cast) -> None:
    client = Client()
    place = client.post("/secrets/3/rollback", {})["Location"]
    words = "Your session expired. Nothing was saved."
    assert words in client.get(place).content.decode()
    # A wrong password changes nothing about it, and the right one leads to the page.
    again = client.post(place, {"username": "alice", "password": "wrong", "next": "/secrets/3"})
    assert words in again.content.decode()
    right = client.post(place, {"username": "alice", "password": PASSWORD, "next": "/secrets/3"})
    assert right["Location"] == "/secrets/3"
    assert words not in Client().get("/sign-in").content.decode()


def test_a_page_that_was_asked_for_is_where_a_sign_in_leads() -> None:
    assert Client().get("/secrets?q=a")["Location"] == "/sign-in?next=/secrets%3Fq%3Da"


@pytest.mark.parametrize("header", [{"HX-Request": "true"}, {"X-Requested-With": "fetch"}])
def test_a_script_is_answered_401_in_words(header: dict[str, str]) -> None:
    for answer in (sent("/secrets/3/reveal", **header), Client().get("/activity?q=a", headers=header)):
        assert answer.status_code == 401
        assert answer.content.decode() == "Your session has expired. Sign in again."
        assert "no-store" in answer["Cache-Control"]


def test_a_method_that_an_address_does_not_take_is_answered_by_a_page(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    alice = signed_in(cast.alice)
    for answer, allowed in ((alice.get("/secrets/bulk"), "POST"), (alice.post("/activity"), "GET")):
        assert (answer.status_code, answer["Allow"]) == (405, allowed)
        assert 'href="/">Back to Keeper' in answer.content.decode()


def _routes(patterns: list[Any], prefix: str = "") -> list[str]:
    found = []
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found += (
                []
                if path.startswith(("api/", "admin/", "static/", "vault/"))
                else _routes(pattern.url_patterns, path)
            )
        elif isinstance(pattern, URLPattern) and pattern.name:
            kinds = {
                "IdConverter": 1,
                "IntConverter": 1,
                "UUIDConverter": "00000000-0000-0000-0000-000000000001",
            }
            found.append(
                reverse(
                    str(pattern.name),
                    kwargs={
                        name: kinds.get(type(converter).__name__, "x")
                        for name, converter in pattern.pattern.converters.items()
                    },
                )
            )
    return found


def test_it_is_known_of_every_page_whether_it_opens(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    """`opens_by_get` reads a variable of Django's decorator: should Django rename it, this fails."""
    root = signed_in(cast.root)
    # Programs alone use the addresses of AWS's protocol.
    paths = [path for path in _routes(get_resolver().url_patterns) if not path.startswith("/aws")]
    wrong = {path for path in paths if opens_by_get(path) == (root.get(path).status_code == 405)}
    assert wrong == set()
    assert sum(not opens_by_get(path) for path in paths) > 40


# --- What a page asks about its session --------------------------------------------------------------


def seen(client: Client, ago: timedelta) -> None:
    """Let the last use of a session lie some time back."""
    key = stored_key(client.session.session_key or "")
    assert Session.objects.filter(session_key=key).update(last_seen_at=timezone.now() - ago)


def last_seen(client: Client) -> timedelta:
    key = stored_key(client.session.session_key or "")
    return timezone.now() - Session.objects.get(session_key=key).last_seen_at


@pytest.mark.parametrize("second_factor", [False, True])
def test_asking_about_a_session_is_no_use_of_it(
    cast: Cast, signed_in: Callable[[User], Client], settings: Settings, second_factor: bool
) -> None:
    settings.KEEPER_REQUIRE_ADMIN_MFA = second_factor
    settings.KEEPER_SESSION_IDLE_SECONDS = 3600
    root = signed_in(cast.root)
    seen(root, timedelta(minutes=50))

    state = root.get("/session").json()

    assert (state["person"], state["name"]) == (str(cast.root.uuid), "root")
    assert 590 <= state["ends_in"] <= 600
    assert state["extendable"] is True
    assert last_seen(root) > timedelta(minutes=49)
    # Any page is.
    root.get("/profile")
    assert last_seen(root) < timedelta(minutes=1)


def test_staying_signed_in_is_use_of_a_session(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    alice = signed_in(cast.alice)
    seen(alice, timedelta(seconds=40))
    alice.post("/session")
    assert last_seen(alice) < timedelta(seconds=30)


def test_the_end_that_no_use_delays_is_told(
    cast: Cast, signed_in: Callable[[User], Client], settings: Settings
) -> None:
    settings.KEEPER_SESSION_IDLE_SECONDS = 3600
    alice = signed_in(cast.alice)
    Session.objects.update(expire_date=timezone.now() + timedelta(seconds=100))
    state = alice.post("/session").json()
    assert 90 <= state["ends_in"] <= 100
    assert state["extendable"] is False


def test_an_ended_session_is_nobodys_and_still_gets_a_token_for_the_sign_in(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.alice, backend="environments_app.users.password_backend.LocalBackend")
    seen(client, timedelta(days=1))

    state = client.get("/session").json()

    assert (state["person"], state["name"], state["ends_in"]) == ("", "", 0)
    form = {"username": "alice", "password": PASSWORD, "csrfmiddlewaretoken": state["csrf"]}
    assert client.post("/sign-in", form).status_code == 302
    fresh = client.get("/session").json()
    assert fresh["person"] == str(cast.alice.uuid)
    # Signing in renewed the token: the old one is refused, the new one is taken.
    assert client.post("/session", headers={"X-CSRFToken": state["csrf"]}).status_code == 403
    assert client.post("/session", headers={"X-CSRFToken": fresh["csrf"]}).status_code == 200


def test_nobody_extends_a_session_from_another_site(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.alice, backend="environments_app.users.password_backend.LocalBackend")
    assert client.post("/session").status_code == 403
