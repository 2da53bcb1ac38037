"""Personal tokens: the person's rights of the moment or fewer, on record as the person's, ended with sessions."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from environments_app.authorization.policy import Principal, TokenScope
from environments_app.authorization.principals import refresh_principal
from environments_app.environments import memberships
from environments_app.errors import (
    BadToken,
    ConfirmationNeeded,
    Conflict,
    Forbidden,
    InvalidField,
    Invisible,
    SessionEnded,
)
from environments_app.models import Membership, PersonalToken, Role, User, UserRole
from environments_app.sessions.service import end_other_sessions, lock_own, revoke_token
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens import personal
from environments_app.tokens.personal import authenticate_personal, issue_personal
from environments_app.tokens.service import issue
from environments_app.users.accounts import disable_user, set_password, update_user
from secrets_app.tests.kept import VALUE, keep


def token_of(cast: Cast, user: User, **options: Any) -> str:
    return issue_personal(actor=cast.principal(user), name="laptop", **options)[1]


def acting(text: str) -> Principal:
    return authenticate_personal(text, address="192.0.2.9", request_id="r")


def client(text: str) -> Client:
    return Client(headers={"authorization": f"Bearer {text}"})


def named(cast: Cast, name: str = "payments/key") -> str:
    return f"/api/environments/{cast.development.name}/secrets/{name}"


def test_it_reads_as_its_person_and_is_on_record_so(cast: Cast) -> None:
    keep(cast)
    text = token_of(cast, cast.bob)
    response = client(text).get(named(cast))
    assert response.json()["value"] == VALUE
    event = AuditEvent.objects.filter(action=Action.SECRET_REVEAL).latest("id")
    assert (event.actor_kind, event.actor_name) == ("user", "bob")
    assert '"via":"kpr on laptop"' in event.details
    who = client(text).get("/api/whoami").json()
    token = PersonalToken.objects.get()
    assert who["name"] == "bob"
    assert datetime.fromisoformat(who["token"].pop("expires_at")) == token.expires_at
    assert who["token"] == {"environment": None, "prefix": ""}
    assert client(text).get(f"/api/environments/{cast.development.name}/export").json() == {
        "payments/key": VALUE
    }


def test_its_rights_are_those_of_the_moment(cast: Cast) -> None:
    keep(cast)
    text = token_of(cast, cast.bob)
    membership = Membership.objects.get(user=cast.bob)
    memberships.change_membership(actor=cast.principal(cast.alice), membership=membership, role="viewer")
    assert "value" not in client(text).get(named(cast)).json()
    memberships.revoke_membership(
        actor=cast.principal(cast.alice), membership=Membership.objects.get(user=cast.bob)
    )
    assert client(text).get(named(cast)).status_code == 404


def test_it_never_has_more_than_an_editor_and_administers_nothing(cast: Cast) -> None:
    alice, root = acting(token_of(cast, cast.alice)), acting(token_of(cast, cast.root))
    assert {grant.role for grant in alice.grants} == {Role.EDITOR}
    assert (root.is_admin, root.grants) == (False, ())
    auditor = User.objects.create_user("audrey", role=UserRole.AUDITOR)
    seeing = cast.principal(auditor)
    assert seeing.sees_installation
    assert not seeing.within(TokenScope(token=auditor.uuid), via="kpr").sees_installation
    web = client(token_of(cast, cast.alice))
    body = {"name": "another", "role": "reader"}
    place = f"/api/environments/{cast.development.name}"
    assert web.post(f"{place}/tokens", body, content_type="application/json").status_code == 403
    grant = {"user": "charlie", "role": "reader"}
    assert web.post(f"{place}/members", grant, content_type="application/json").status_code == 403
    with pytest.raises(Forbidden):
        issue(actor=alice, environment=cast.development, role="reader", name="x")
    with pytest.raises(Forbidden):
        issue_personal(actor=alice, name="from a token")


@pytest.mark.parametrize(
    ("own", "wanted", "left"),
    [("", "", ""), ("", "a/b", "a/b"), ("a", "a/b", "a/b"), ("a/b", "a", "a/b"), ("a", "b", None), ("ab", "a", None)],
)  # fmt: skip
def test_a_prefix_leaves_what_both_reach(cast: Cast, own: str, wanted: str, left: str | None) -> None:
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER, prefix=own)
    actor = acting(token_of(cast, cast.charlie, environment="development", prefix=wanted))
    # Never as a manager, by whichever of the two paths.
    expected = [] if left is None else [(left, Role.EDITOR)]
    assert [(grant.prefix, grant.role) for grant in actor.grants] == expected
    # Long work asks again, and gets no more.
    assert refresh_principal(actor).grants == actor.grants
    assert refresh_principal(actor).via == "kpr on laptop"


def test_an_environment_leaves_that_alone(cast: Cast) -> None:
    actor = acting(token_of(cast, cast.alice, environment="development"))
    assert {grant.environment_name for grant in actor.grants} == {"development"}
    with pytest.raises(Invisible):
        token_of(cast, cast.bob, environment="production")
    with pytest.raises(InvalidField):
        token_of(cast, cast.bob, prefix="a")


@pytest.mark.parametrize(
    "ends",
    [
        lambda cast, root, bob: revoke_token(actor=root, token=PersonalToken.objects.get()),
        lambda cast, root, bob: disable_user(actor=root, user=bob),
        lambda cast, root, bob: set_password(actor=root, user=bob, password=f"{PASSWORD}-2"),
        lambda cast, root, bob: end_other_sessions(actor=root, user=bob),
        lambda cast, root, bob: end_other_sessions(actor=cast.principal(bob), user=bob, except_key="x"),
        lambda cast, root, bob: PersonalToken.objects.update(expires_at=timezone.now()),
        lambda cast, root, bob: PersonalToken.objects.update(prefix="other"),
        lambda cast, root, bob: PersonalToken.objects.update(pepper_id="gone"),
        lambda cast, root, bob: User.objects.filter(pk=bob.pk).update(role="admin"),
    ],
    ids=["revoked", "disabled", "password", "signed out", "own sign-out", "expired", "edited", "pepper", "account edited"],
)  # fmt: skip
def test_it_ends(cast: Cast, ends: Any) -> None:
    keep(cast)
    text = token_of(cast, cast.bob)
    assert acting(text).name == "bob"
    ends(cast, cast.principal(cast.root), User.objects.get(pk=cast.bob.pk))
    with pytest.raises(BadToken):
        acting(text)
    assert client(text).get(named(cast)).status_code == 401


def test_what_it_began_is_refused_once_it_has_ended(cast: Cast) -> None:
    """Asked under the lock of its person, as for a session."""
    actor, root = acting(token_of(cast, cast.bob)), cast.principal(cast.root)
    token = PersonalToken.objects.select_related("user").get()
    with lock_own(actor, cast.bob, Action.SECOND_FACTOR_CHANGE):
        pass
    revoke_token(actor=root, token=token)
    with pytest.raises(SessionEnded), lock_own(actor, cast.bob, Action.SECOND_FACTOR_CHANGE):
        pytest.fail("it goes on")


def test_an_account_that_is_enabled_again_has_no_token_of_before(cast: Cast) -> None:
    text, root = token_of(cast, cast.bob), cast.principal(cast.root)
    disable_user(actor=root, user=cast.bob)
    update_user(actor=root, user=User.objects.get(pk=cast.bob.pk), is_active=True)
    with pytest.raises(BadToken):
        acting(text)
    assert [problem.object for problem in run_checks()] == []


def test_another_text_opens_nothing(cast: Cast) -> None:
    text = token_of(cast, cast.bob)
    for wrong in (text[:-1] + ("A" if text[-1] != "A" else "B"), text[:30], text.replace("kpu_", "kpr_")):
        assert client(wrong).get("/api/whoami").status_code == 401
    assert text not in str(PersonalToken.objects.values())


def test_only_a_fresh_session_of_a_person_issues_one(cast: Cast) -> None:
    with pytest.raises(ConfirmationNeeded):
        issue_personal(actor=replace(cast.principal(cast.bob), confirmed=False), name="laptop")
    for lifetime in (timedelta(0), timedelta(days=8)):
        with pytest.raises(InvalidField):
            token_of(cast, cast.bob, lifetime=lifetime)


def test_a_person_has_a_bounded_number(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal, "_MAX_TOKENS", 1)
    token_of(cast, cast.bob)
    with pytest.raises(Conflict):
        token_of(cast, cast.bob)


@pytest.mark.parametrize("end", ["revoked", "signed out"])
def test_a_row_that_was_edited_is_ended_as_well_and_stays_edited(cast: Cast, end: str) -> None:
    token_of(cast, cast.bob)
    PersonalToken.objects.update(prefix="other")
    bob = cast.principal(cast.bob)
    if end == "revoked":
        revoke_token(actor=bob, token=PersonalToken.objects.get())
    else:
        end_other_sessions(actor=bob, user=cast.bob)
    stored = PersonalToken.objects.get()
    assert stored.revoked_at is not None
    assert not stored.is_authentic()


def test_a_token_revokes_itself_and_no_other(cast: Cast) -> None:
    mine, other = token_of(cast, cast.bob), token_of(cast, cast.bob)
    assert client(mine).delete("/api/whoami/token").status_code == 204
    assert client(mine).get("/api/whoami").status_code == 401
    assert client(other).get("/api/whoami").status_code == 200
    with pytest.raises(Forbidden):
        revoke_token(actor=cast.principal(cast.alice), token=PersonalToken.objects.latest("pk"))
    assert AuditEvent.objects.filter(action=Action.TOKEN_REVOKE, outcome="allowed").count() == 1


# --- The page ------------------------------------------------------------------------------------


def test_the_profile_issues_lists_and_revokes(cast: Cast) -> None:
    web = Client()
    web.force_login(cast.bob, backend="environments_app.users.password_backend.LocalBackend")
    shown = web.post(
        "/profile/tokens/issue",
        {"name": "box-of-bob", "environment": "development", "prefix": "payments", "hours": "12"},
    )
    token = PersonalToken.objects.get()
    assert f"{personal.PREFIX}{token.public_id}_" in shown.content.decode()
    page = web.get("/profile").content.decode()
    assert "box-of-bob" in page
    assert token.public_id not in page
    refused = web.post("/profile/tokens/issue", {"name": "x", "hours": "1000"})
    assert refused.status_code == 422
    assert web.post(f"/profile/tokens/{token.uuid}/revoke").status_code == 302
    assert "box-of-bob" not in web.get("/profile").content.decode()


def test_a_person_does_not_revoke_anothers(cast: Cast) -> None:
    text = token_of(cast, cast.bob)
    web = Client()
    web.force_login(cast.erin, backend="environments_app.users.password_backend.LocalBackend")
    web.post(f"/profile/tokens/{PersonalToken.objects.get().uuid}/revoke")
    assert acting(text).name == "bob"


def test_a_token_that_has_ended_stays_as_it_ended(cast: Cast) -> None:
    token_of(cast, cast.bob)
    token = PersonalToken.objects.select_related("user").get()
    revoke_token(actor=cast.principal(cast.bob), token=token)
    ended = PersonalToken.objects.get().revoked_at
    for actor in (cast.principal(cast.bob), cast.principal(cast.root)):
        revoke_token(actor=actor, token=token)
    assert PersonalToken.objects.get().revoked_at == ended
    assert AuditEvent.objects.filter(action=Action.TOKEN_REVOKE).count() == 1
