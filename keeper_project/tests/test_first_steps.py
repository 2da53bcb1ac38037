"""The first steps: ticked off by what is there, shown to whoever may take them, gone when done."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client

from audit_app.tests.trail import take_away
from environments_app.models import Environment, Membership, User
from environments_app.tests.cast import Cast
from environments_app.tokens.personal import issue_personal
from environments_app.tokens.service import issue
from secrets_app.tests.kept import keep
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]


def steps(person: Client) -> dict[str, bool]:
    return {step.title: step.done for step in person.get("/").context["first_steps"]}


def test_they_are_ticked_off_by_what_is_there_and_then_go_away(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    assert steps(alice) == {
        "Create an environment": True,
        "Add a secret": False,
        "Issue a service token": False,
        "Read the secret from a program": False,
        "Connect a sync target": False,
    }
    first = keep(cast, "first")
    actor = cast.principal(cast.alice)
    _, token = issue(actor=actor, environment=cast.development, role="reader", name="ci")
    read = next(step for step in alice.get("/").context["first_steps"] if "program" in step.title)
    assert (read.done, read.url) == (False, f"/secrets/{first.pk}#use-title")
    Client().get(f"/api/secrets/{first.pk}", headers={"authorization": f"Bearer {token}"})
    assert steps(alice) == {
        "Create an environment": True,
        "Add a secret": True,
        "Issue a service token": True,
        "Read the secret from a program": True,
        "Connect a sync target": False,
    }
    make_target(cast.development)
    assert steps(alice) == {}


def test_a_read_by_a_personal_token_of_a_member_counts(cast: Cast, signed_in: SignedIn) -> None:
    secret, alice = keep(cast, "first"), signed_in(cast.alice)
    for user, reads in ((cast.charlie, False), (cast.bob, True)):
        _, text = issue_personal(actor=cast.principal(user), name="laptop", lifetime=timedelta(hours=1))
        Client().get(f"/api/secrets/{secret.pk}", headers={"authorization": f"Bearer {text}"})
        assert steps(alice)["Read the secret from a program"] is reads, user


def test_the_command_is_shown_for_a_secret_that_the_newest_token_reads(
    cast: Cast, signed_in: SignedIn
) -> None:
    keep(cast, "first")
    inside = keep(cast, "app/inside")
    actor = cast.principal(cast.alice)
    issue(actor=actor, environment=cast.development, role="reader", name="ci", prefix="app")
    read = next(
        step for step in signed_in(cast.alice).get("/").context["first_steps"] if "program" in step.title
    )
    assert read.url == f"/secrets/{inside.pk}#use-title"


def test_each_step_leads_to_a_page_that_opens(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    for step in alice.get("/").context["first_steps"]:
        assert alice.get(step.url).status_code == 200, step.url


def test_they_are_for_whoever_may_take_them(cast: Cast, signed_in: SignedIn) -> None:
    for user in (cast.erin, cast.vera, cast.charlie, cast.root):
        assert steps(signed_in(user)) == {}, user.username
    take_away(Membership.objects.all())
    take_away(Environment.objects.all())
    # Who may make the first environment becomes its manager, and goes on from there.
    assert steps(signed_in(cast.root)) == {"Create an environment": False}
    assert steps(signed_in(cast.alice)) == {}


def test_they_can_be_put_away(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    alice.post("/first-steps/hide")
    assert steps(alice) == {}
