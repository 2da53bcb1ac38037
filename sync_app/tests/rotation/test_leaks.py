"""A leaked text is found by its hash or keyed fingerprint, for who may know it, and is kept nowhere."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit_app.errors import TooManyRefusals
from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from audit_app.tests.trail import sql
from environments_app.authorization.principals import system_principal, token_principal
from environments_app.errors import Forbidden
from environments_app.models import Environment, Membership, Role, ServiceToken, User, UserRole
from environments_app.tests.cast import Cast, user_with_password
from environments_app.tokens.children import issue_child
from environments_app.tokens.personal import issue_personal
from environments_app.tokens.service import issue, revoke
from secrets_app.errors import InvalidInput
from secrets_app.keys import fingerprints
from secrets_app.models import Secret
from secrets_app.services import decoys, guarded
from secrets_app.tests.kept import VALUE, change, keep
from sync_app.rotation import leaks
from sync_app.rotation.leaks import Match, find_leaked

pytestmark = pytest.mark.every_database_weekly
SignedIn = Callable[[User], Client]


def find(cast: Cast, text: str, user: User | None = None) -> list[Match]:
    return find_leaked(actor=cast.principal(user or cast.alice), text=text)


def token(cast: Cast, *, environment: Environment | None = None, role: str = "reader") -> str:
    place = environment or (None if role == "admin" else cast.development)
    return issue(actor=system_principal(is_admin=True), environment=place, role=role, name="ci")[1]


def test_a_value_is_found_in_each_version_and_place_with_its_state(cast: Cast) -> None:
    secret = keep(cast, "app/db")
    change(cast, secret, "another")
    keep(cast, "copy", environment=cast.production)
    found = {(m.name, m.environment, m.version, m.state) for m in find(cast, f" {VALUE}\n")}
    assert found == {
        ("app/db", "development", 1, "previous"),
        ("copy", "production", 1, "current"),
    }
    assert find(cast, VALUE[:-1]) == []


@pytest.mark.parametrize("act", [guarded.guard, decoys.make_decoy])
def test_a_guess_of_a_value_that_nobody_may_see_alone_is_not_confirmed(
    cast: Cast, act: Callable[..., Secret]
) -> None:
    secret = keep(cast)
    assert [match.name for match in find(cast, VALUE)] == [secret.name]
    act(
        actor=cast.principal(cast.alice),
        secret=Secret.objects.select_related("environment").get(pk=secret.pk),
    )
    statements = []
    for text in (VALUE, "a wrong guess"):
        with CaptureQueriesContext(connection) as made:
            assert find(cast, text) == []
        statements.append([each["sql"].split()[0] for each in made.captured_queries])
    # Nor by how long the answer takes.
    assert statements[0] == statements[1]


def test_a_value_under_an_older_key_of_fingerprints_is_found(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cast)
    monkeypatch.setattr(fingerprints, "are_comparable", lambda _one, _other: False)
    assert [match.version for match in find(cast, VALUE)] == [1]


def test_a_token_is_found_by_its_hash_and_only_whole(cast: Cast) -> None:
    text = token(cast)
    (match,) = find(cast, text)
    assert (match.kind, match.name, match.environment, match.state) == (
        "service token",
        "ci",
        "development",
        "active",
    )
    assert find(cast, text[:-1] + ("A" if text[-1] != "A" else "B")) == []
    assert find(cast, text.rpartition("_")[0]) == []


def test_a_revoked_token_is_found_as_revoked_and_an_edited_one_as_edited(cast: Cast) -> None:
    text = token(cast)
    sql("UPDATE environments_app_servicetoken SET role = 'manager'")
    assert [match.state for match in find(cast, text)] == ["modified outside Keeper"]


def test_a_personal_token_is_found_by_its_owner_and_by_administrators(cast: Cast) -> None:
    _, text = issue_personal(actor=cast.principal(cast.alice), name="laptop", lifetime=timedelta(hours=12))
    assert [match.name for match in find(cast, text)] == ["laptop of alice"]
    assert [match.name for match in find(cast, text, cast.root)] == ["laptop of alice"]
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    assert find(cast, text, cast.charlie) == []


def test_a_token_leads_to_where_it_is_revoked_and_a_revoked_one_to_nothing(
    cast: Cast, signed_in: SignedIn
) -> None:
    row, text = issue_personal(actor=cast.principal(cast.alice), name="laptop", lifetime=timedelta(hours=12))
    assert [match.act_url for match in find(cast, text)] == ["/profile#tokens"]
    root, auditor = signed_in(cast.root), user_with_password("nora", role=UserRole.AUDITOR)
    assert [(match.act, match.act_url) for match in find(cast, text, auditor)] == [("", "")]
    (match,) = find(cast, text, cast.root)
    assert match.act_url in root.post("/rotation/leaked", {"text": text}).content.decode()
    page = root.get(match.act_url).content.decode()
    assert "laptop of alice" in page
    assert ">Delete" not in page
    assert "Token revoked." in root.post(match.act_url, {"agreed": "Revoke"}, follow=True).content.decode()
    row.refresh_from_db()
    assert row.revoked_at
    for user in (cast.alice, cast.root):
        assert [(match.state, match.act) for match in find(cast, text, user)] == [("revoked", "")]
        said = signed_in(user).post("/rotation/leaked", {"text": text}).content.decode()
        assert "Revoke…" not in said
    service, other = token(cast), cast.principal(cast.alice)
    revoke(actor=other, token=ServiceToken.objects.select_related("environment").get(name="ci"))
    assert [(match.state, match.act) for match in find(cast, service)] == [("revoked", "")]


def test_who_manages_elsewhere_learns_nothing_and_pays_the_same(cast: Cast) -> None:
    keep(cast)
    text = token(cast)
    Membership.objects.create(environment=cast.production, user=cast.charlie, role=Role.MANAGER)
    taken = []
    for pasted in (VALUE, "another text", text, token(cast, role="admin")):
        with CaptureQueriesContext(connection) as queries:
            assert find(cast, pasted, cast.charlie) == []
        taken.append(
            len([q for q in queries.captured_queries if not q["sql"].startswith(("SAVEPOINT", "RELEASE"))])
        )
    assert taken[0] == taken[1]
    # An administrator reveals no value, so that none is confirmed.
    assert find(cast, VALUE, cast.root) == []


def test_only_managers_may_search(cast: Cast, signed_in: SignedIn) -> None:
    for user in (cast.bob, cast.erin, cast.vera):
        with pytest.raises(Forbidden):
            find(cast, VALUE, user)
        assert signed_in(user).get("/rotation/leaked").status_code == 403
        assert (
            signed_in(user).post("/api/leaked", {"text": "x"}, content_type="application/json").status_code
            == 403
        )


def test_who_may_search_is_told_to_a_manager_of_a_path(cast: Cast, signed_in: SignedIn) -> None:
    Membership.objects.create(environment=cast.production, user=cast.charlie, role=Role.MANAGER, prefix="app")
    for path in ("/rotation/leaked", "/rotation/exposure"):
        page = signed_in(cast.charlie).get(path)
        shown = page.content.decode()
        assert (page.status_code, "Only managers of a whole environment" in shown) == (403, True), path


def test_a_child_of_a_manager_token_adds_no_searches(cast: Cast) -> None:
    """The limit of the parent would not count them."""
    parent, _ = issue(
        actor=system_principal(is_admin=True), environment=cast.development, role="manager", name="ci"
    )
    assert find_leaked(actor=token_principal(parent), text="x") == []
    child, _ = issue_child(actor=token_principal(parent), parent=parent, less={})
    with pytest.raises(Forbidden, match="managers of a whole environment"):
        find_leaked(actor=token_principal(child), text="x")


def test_the_field_of_a_value_is_not_found_and_the_page_says_so(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, value='{"user": "u", "password": "S3cret"}')
    page = signed_in(cast.alice).post("/rotation/leaked", {"text": "S3cret"}).content.decode()
    assert "A part of a value, such as a field of JSON, is not found." in page


def test_a_right_that_ends_meanwhile_shows_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(cast)
    alice = cast.principal(cast.alice)
    search = leaks._versions

    def lose(*arguments: Any) -> list[int]:
        found = search(*arguments)
        sql("DELETE FROM environments_app_membership WHERE user_id = %s", cast.alice.pk)
        return found

    monkeypatch.setattr(leaks, "_versions", lose)
    assert find_leaked(actor=alice, text=VALUE) == []
    assert not AuditEvent.objects.filter(action=Action.SECRET_COMPARE).exists()


def test_it_is_recorded_first_and_what_was_learned_beside_the_secret(cast: Cast) -> None:
    secret = keep(cast)
    find(cast, "no such text")
    find(cast, VALUE)
    events = AuditEvent.objects.filter(action__in=[Action.LEAK_SEARCH, Action.SECRET_COMPARE]).order_by("pk")
    assert [event.action for event in events] == ["leak.search", "leak.search", "secret.compare"]
    assert events.last().object_uuid == secret.uuid  # type: ignore[union-attr]  # it is there


def test_searches_are_limited_and_the_limit_counts_those_that_found_nothing(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, signed_in: SignedIn
) -> None:
    monkeypatch.setattr(leaks, "PER_HOUR", 2)
    keep(cast)
    for text in ("x", VALUE):
        find(cast, text)
    with pytest.raises(TooManyRefusals):
        find(cast, VALUE)
    answer = signed_in(cast.alice).post("/rotation/leaked", {"text": VALUE})
    assert (answer.status_code, "Wait an hour" in answer.content.decode()) == (429, True)
    # Another person has searches of their own.
    assert find(cast, VALUE, cast.root) == []


@pytest.mark.parametrize("text", ["", "  \n", "x" * 65_537])
def test_what_cannot_be_a_value_is_refused(cast: Cast, text: str) -> None:
    with pytest.raises(InvalidInput):
        find(cast, text)


def test_what_was_pasted_is_in_no_page_answer_event_or_address(cast: Cast, signed_in: SignedIn) -> None:
    secret, text = keep(cast), token(cast)
    client = signed_in(cast.alice)
    for pasted in (VALUE, text, "an unknown-canary-text"):
        page = client.post("/rotation/leaked", {"text": pasted})
        api = client.post("/api/leaked", {"text": pasted}, content_type="application/json")
        assert (page.status_code, api.status_code) == (200, 200)
        for answer in (page.content.decode(), api.content.decode()):
            assert pasted not in answer
        for event in AuditEvent.objects.all():
            assert pasted not in f"{event.details}{event.object_name}"
    shown = client.post("/rotation/leaked", {"text": VALUE}).content.decode()
    assert f'href="/secrets/{secret.pk}/usage"' in shown
    assert "Change the value…" in shown
    shown = client.post("/rotation/leaked", {"text": text}).content.decode()
    assert "Revoke…" in shown
    assert Secret.objects.count() == 1
