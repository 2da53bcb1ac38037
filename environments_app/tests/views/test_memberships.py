"""The page that changes a membership: who may, what it changes, and that granting again leads there."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.approvals import service as approvals
from environments_app.environments import memberships
from environments_app.models import Approval, Environment, Membership, Role, Source, User
from environments_app.tests.cast import Cast

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]
PAGE = "/environments/development"


def of(user: User, place: Environment) -> Membership:
    return Membership.objects.get(user=user, environment=place)


def address(membership: Membership) -> str:
    return f"/environments/{membership.environment.name}/members/{membership.pk}/change"


def as_shown(client: Client, membership: Membership, **changes: str) -> dict[str, str]:
    """Return what a browser sends: the form as the page shows it, with changes."""
    form = client.get(address(membership)).context["form"]
    shown = {bound.name: bound.field.widget.format_value(bound.value()) for bound in form}
    flat = {name: text[0] if isinstance(text, list) else text for name, text in shown.items()}
    return {name: text or "" for name, text in flat.items()} | changes


def test_a_manager_changes_a_role_and_an_end(
    cast: Cast, signed_in: SignedIn, events: Callable[..., list[AuditEvent]]
) -> None:
    manager, row = signed_in(cast.alice), of(cast.bob, cast.development)
    assert f'href="{address(row)}"' in manager.get(PAGE).content.decode()
    sent = as_shown(manager, row, role="editor", expires_at="2099-01-02T03:04")
    answer = manager.post(address(row), sent, follow=True)
    assert answer.redirect_chain == [(PAGE, 302)]
    assert "Access changed." in answer.content.decode()
    row.refresh_from_db()
    assert (row.role, row.expires_at) == ("editor", datetime(2099, 1, 2, 3, 4, tzinfo=UTC))
    assert row.is_authentic()
    (event,) = events(Action.MEMBER_CHANGE)
    assert (event.actor_name, event.object_name) == ("alice", "bob")
    manager.post(address(row), as_shown(manager, row, expires_at="", prefix="payments"))
    row.refresh_from_db()
    assert (row.role, row.prefix, row.expires_at) == ("editor", "payments", None)


def test_what_was_not_touched_stays_to_the_second(
    cast: Cast, signed_in: SignedIn, events: Callable[..., list[AuditEvent]]
) -> None:
    ends = timezone.now() + timedelta(days=1)
    row = memberships.change_membership(
        actor=cast.principal(cast.alice), membership=of(cast.bob, cast.development), expires_at=ends
    )
    manager = signed_in(cast.alice)
    manager.post(address(row), as_shown(manager, row, role="viewer"))
    row.refresh_from_db()
    assert (row.role, row.expires_at) == ("viewer", ends)
    answer = manager.post(address(row), as_shown(manager, row), follow=True)
    assert "No changes to save." in answer.content.decode()
    assert len(events(Action.MEMBER_CHANGE)) == 2


def test_the_role_of_an_access_that_ended_can_be_changed(cast: Cast, signed_in: SignedIn) -> None:
    row = of(cast.bob, cast.development)
    row.expires_at = timezone.now() - timedelta(days=1)
    row.save()
    manager = signed_in(cast.alice)
    assert manager.post(address(row), as_shown(manager, row, role="viewer")).status_code == 302
    row.refresh_from_db()
    assert row.role == Role.VIEWER


def test_what_was_changed_meanwhile_is_not_undone(cast: Cast, signed_in: SignedIn) -> None:
    manager, row = signed_in(cast.alice), of(cast.bob, cast.development)
    sent = as_shown(manager, row, expires_at="2099-01-02T03:04")
    memberships.change_membership(actor=cast.principal(cast.root), membership=row, role="viewer")
    answer = manager.post(address(row), sent, follow=True)
    assert answer.redirect_chain == [(address(row), 302)]
    assert "Someone else changed this access" in answer.content.decode()
    row.refresh_from_db()
    assert (row.role, row.expires_at) == (Role.VIEWER, None)


def test_others_neither_see_nor_change_it(cast: Cast, signed_in: SignedIn) -> None:
    row = of(cast.vera, cast.development)
    for user, status in ((cast.erin, 403), (cast.bob, 403), (cast.charlie, 404)):
        assert signed_in(user).get(address(row)).status_code == status
        assert signed_in(user).post(address(row), {"role": "manager"}).status_code == status
    assert f"/members/{row.pk}/change" not in signed_in(cast.erin).get(PAGE).content.decode()
    # Nor by the name of another environment.
    elsewhere = f"/environments/production/members/{row.pk}/change"
    assert signed_in(cast.alice).get(elsewhere).status_code == 404
    row.refresh_from_db()
    assert row.role == Role.VIEWER


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"role": "owner"}, "try again."),
        ({"expires_at": "2001-01-01T00:00"}, "Enter a time in the future"),
        ({"prefix": "../x"}, "try again."),
    ],
)
def test_what_cannot_be_stands_on_the_form(
    cast: Cast, signed_in: SignedIn, changes: dict[str, str], said: str
) -> None:
    manager, row = signed_in(cast.alice), of(cast.bob, cast.development)
    answer = manager.post(address(row), as_shown(manager, row, **changes))
    assert answer.status_code == 422
    assert said in answer.content.decode()


def test_the_last_manager_stays(cast: Cast, signed_in: SignedIn) -> None:
    manager, row = signed_in(cast.alice), of(cast.alice, cast.development)
    answer = manager.post(address(row), as_shown(manager, row, role="reader"))
    assert answer.status_code == 422
    assert "Add another one first" in answer.content.decode()
    row.refresh_from_db()
    assert row.role == Role.MANAGER


def test_what_single_sign_on_grants_is_changed_there(cast: Cast, signed_in: SignedIn) -> None:
    row = Membership.objects.create(
        environment=cast.development, user=cast.charlie, role=Role.READER, source=Source.SAML
    )
    manager = signed_in(cast.alice)
    assert address(row) not in manager.get(PAGE).content.decode()
    page = manager.get(address(row)).content.decode()
    assert "This access comes from single sign-on" in page
    assert 'name="role"' not in page
    assert manager.post(address(row), {"role": "manager"}).status_code == 422
    row.refresh_from_db()
    assert row.role == Role.READER


def test_granting_again_leads_to_the_change(cast: Cast, signed_in: SignedIn) -> None:
    row = of(cast.bob, cast.development)
    answer = signed_in(cast.alice).post(f"{PAGE}/members", {"username": "bob", "role": "manager"})
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "There is a membership for this path already" in text
    assert f'<a href="{address(row)}" data-leave>Change that one</a>' in text


def test_a_prefix_that_is_taken_leads_to_the_other_one(cast: Cast, signed_in: SignedIn) -> None:
    other = memberships.grant(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        user=cast.bob,
        role="reader",
        prefix="payments",
    )
    manager, row = signed_in(cast.alice), Membership.objects.get(user=cast.bob, prefix="")
    answer = manager.post(address(row), as_shown(manager, row, prefix="payments"))
    assert answer.status_code == 422
    assert f'<a href="{address(other)}" data-leave>Change that one</a>' in answer.content.decode()


class TestInAProtectedEnvironment:
    @pytest.fixture(autouse=True)
    def _guarded(self, cast: Cast) -> None:
        for user, role in ((cast.erin, Role.MANAGER), (cast.bob, Role.READER)):
            Membership.objects.create(environment=cast.production, user=user, role=role)
        cast.production.protected = True
        cast.production.save()

    def test_more_access_waits_for_a_second_person(self, cast: Cast, signed_in: SignedIn) -> None:
        manager, row = signed_in(cast.alice), of(cast.bob, cast.production)
        answer = manager.post(address(row), as_shown(manager, row, role="editor"))
        asked = Approval.objects.select_related("environment").get()
        assert answer["Location"] == f"/approvals/{asked.pk}"
        assert of(cast.bob, cast.production).role == Role.READER
        approvals.approve(actor=cast.principal(cast.erin), approval=asked)
        manager.post(f"/approvals/{asked.pk}/carry-out")
        assert of(cast.bob, cast.production).role == Role.EDITOR

    def test_less_access_takes_one_person(self, cast: Cast, signed_in: SignedIn) -> None:
        manager, row = signed_in(cast.alice), of(cast.bob, cast.production)
        answer = manager.post(address(row), as_shown(manager, row, role="viewer"))
        assert answer["Location"] == "/environments/production"
        assert of(cast.bob, cast.production).role == Role.VIEWER

    def test_granting_again_asks_nobody(self, cast: Cast, signed_in: SignedIn) -> None:
        """A second person would approve what cannot be carried out."""
        row = of(cast.bob, cast.production)
        grant = {"username": "bob", "role": "editor"}
        answer = signed_in(cast.alice).post("/environments/production/members", grant)
        assert answer.status_code == 422
        assert address(row) in answer.content.decode()
        assert not Approval.objects.exists()

    def test_a_prefix_that_is_taken_asks_nobody(self, cast: Cast, signed_in: SignedIn) -> None:
        narrow = Membership.objects.create(
            environment=cast.production, user=cast.bob, role=Role.READER, prefix="payments"
        )
        manager = signed_in(cast.alice)
        answer = manager.post(address(narrow), as_shown(manager, narrow, prefix=""))
        assert answer.status_code == 422
        assert not Approval.objects.exists()
