"""The page of people is for administrators: accounts are added, changed, disabled and signed out."""

import re
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit_app.models import AuditEvent
from environments_app.errors import Forbidden
from environments_app.forms.trust import TrustForm
from environments_app.models import Membership, Role, Session, User, UserRole
from environments_app.sessions.service import end_other_sessions
from environments_app.sessions.store import CONFIRMED, SIGNED_IN
from environments_app.tests.cast import PASSWORD, Cast

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]
Events = Callable[..., list[AuditEvent]]


@pytest.fixture
def root(cast: Cast, signed_in: SignedIn) -> Client:
    """An administrator, signed in a moment ago."""
    client = Client()
    client.post("/sign-in", {"username": "root", "password": PASSWORD})
    return client


def test_only_administrators_open_it_and_others_are_offered_no_access(
    cast: Cast, signed_in: SignedIn, root: Client
) -> None:
    assert root.get("/people").status_code == 200
    page = signed_in(cast.alice).get("/people")
    assert page.status_code == 403
    assert "Only administrators can do this." in page.content.decode()
    text = page.content.decode()
    assert "Request access" not in text[text.index("<main") : text.index("</main>")]


def test_a_person_is_found_by_name_or_address(cast: Cast, root: Client) -> None:
    response = root.get("/people?q=alice@example")
    # An overlooked choice makes no administrator.
    assert response.context["form"]["role"].value() == UserRole.USER
    page = response.content.decode()
    # The role of a manager is offered, so it is explained.
    assert "Managers also decide who has access." in page
    assert 'href="/people/alice"' in page
    assert 'href="/people/bob"' not in page


def test_a_new_account_gets_a_password_that_is_shown_once(cast: Cast, root: Client) -> None:
    given = {
        "username": "nina",
        "display_name": "Nina",
        "email": "nina@example.com",
        "role": "user",
        "sign_in": "password",
    }
    page = root.post("/new-person", given)
    password = page.context["password"]
    assert password in page.content.decode()
    assert 'href="http://testserver/sign-in"' in page.content.decode()
    assert "The account has no access yet." in page.content.decode()
    # It administers the installation: that is no lack of access.
    for role, words in (("admin", "administers the whole installation"), ("auditor", "sees the audit log")):
        said = root.post("/new-person", {**given, "username": f"new-{role}", "role": role, "email": ""})
        assert words in said.content.decode()
        assert "no access yet" not in said.content.decode()
    assert password not in root.get("/people/nina").content.decode()
    answer = Client().post("/sign-in", {"username": "nina", "password": password})
    assert answer.status_code == 302


def test_a_name_in_use_is_refused_on_the_form(cast: Cast, root: Client) -> None:
    page = root.post("/new-person", {"username": "alice", "role": "user", "sign_in": "sso"})
    assert page.status_code == 422
    assert "The username alice is taken." in page.content.decode()


def test_a_persons_page_says_when_a_role_ends(cast: Cast, root: Client) -> None:
    """A membership for some hours must not look as one for ever."""
    ends = timezone.now() + timedelta(hours=4, minutes=30)
    for place, expires_at in ((cast.development, None), (cast.production, ends)):
        Membership.objects.create(
            environment=place, user=cast.charlie, role=Role.VIEWER, expires_at=expires_at
        )
    page = root.get("/people/charlie").content.decode()
    table = page[page.index("Roles by environment") : page.index("</table>")]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[1:]
    assert [("in 4 hours" in row, "Never" in row) for row in rows] == [(False, True), (True, False)]


def test_an_account_is_changed_disabled_and_enabled(cast: Cast, root: Client) -> None:
    root.post("/people/bob/update", {"display_name": "Bob B", "role": "admin", "email": ""})
    bob = User.objects.get(username="bob")
    assert (bob.display_name, bob.role) == ("Bob B", UserRole.ADMIN)
    root.post("/people/bob/disable")
    assert not User.objects.get(username="bob").is_active
    root.post("/people/bob/enable")
    assert User.objects.get(username="bob").is_active


def test_the_last_administrator_stays(cast: Cast, root: Client) -> None:
    page = root.post("/people/root/update", {"role": "user"})
    assert page.status_code == 422
    assert "at least one active administrator" in page.content.decode()


def test_sessions_are_ended_and_it_is_recorded(
    cast: Cast, signed_in: SignedIn, root: Client, events: Events
) -> None:
    signed_in(cast.alice)
    assert Session.objects.filter(user=cast.alice).exists()
    root.post("/people/alice/sign-out")
    assert not Session.objects.filter(user=cast.alice).exists()
    assert events("session.end")[-1].actor_name == "root"
    with pytest.raises(Forbidden):
        end_other_sessions(actor=cast.principal(cast.bob), user=cast.alice)


def test_a_person_signs_out_everywhere_else_and_stays_here(cast: Cast, signed_in: SignedIn) -> None:
    here, there = signed_in(cast.alice), signed_in(cast.alice)
    here.post("/profile/sessions/end-others")
    assert here.get("/profile").status_code == 200
    assert there.get("/profile").status_code == 302


def test_a_person_changes_their_own_name_alone(cast: Cast, signed_in: SignedIn, events: Events) -> None:
    signed_in(cast.bob).post("/profile/name", {"display_name": "Bob"})
    assert User.objects.get(username="bob").display_name == "Bob"
    assert events("user.change")[-1].actor_name == "bob"


def test_the_list_asks_as_much_for_few_as_for_many(cast: Cast, root: Client) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert root.get("/people").status_code == 200
        return len(asked)

    statements()
    few = statements()
    User.objects.bulk_create(User(username=f"person-{number}") for number in range(30))
    assert statements() == few


@pytest.mark.parametrize("what", ["member", "token", "person", "trust"])
def test_a_lapsed_proof_is_asked_for_in_the_form(cast: Cast, signed_in: SignedIn, what: str) -> None:
    """The form stays as it was typed and asks for the password as a question; the right one carries on."""
    person = signed_in(cast.root if what == "person" else cast.alice)
    session = person.session
    session[CONFIRMED] = session[SIGNED_IN] = int(time.time()) - 3600
    session.save()
    cases: dict[str, tuple[str, dict[str, str], str]] = {
        "member": (
            "/environments/development/members",
            {"username": "charlie", "role": "reader"},
            "Access granted: charlie",
        ),
        "token": ("/environments/development/tokens", {"name": "deploy", "role": "reader"}, "kpr_"),
        "person": (
            "/new-person",
            {"username": "nina", "role": "user", "sign_in": "password"},
            "Account created",
        ),
        "trust": (
            "/environments/development/trusts/new/github",
            {
                **TrustForm.initial_of_preset("github"),
                "name": "deploy",
                "role": "reader",
                "audience": "keeper",
                "claims": "repository = example/shop",
                "lifetime_minutes": "15",
                "max_age_minutes": "5",
            },
            "Trust created.",
        ),
    }
    path, form, answer = cases[what]
    asked = person.post(path, form)
    page = asked.content.decode()
    assert asked.status_code in {200, 422}
    assert page.count('name="proof-password"') == 1
    assert "notice-error" not in page[page.index("<main") :]
    typed = form.get("username") or form["name"]
    assert f'value="{typed}"' in page
    wrong = person.post(path, {**form, "proof-password": "wrong"}).content.decode()
    assert "Incorrect password." in wrong
    done = person.post(path, {**form, "proof-password": PASSWORD}, follow=True).content.decode()
    assert 'name="proof-password"' not in done
    assert answer in done
