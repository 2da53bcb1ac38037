"""All that somebody knows, by page and API: a preview, a typed name, a result of each, a second person."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from audit_app.events.actions import Action, Outcome
from audit_app.models import AuditEvent
from environments_app.approvals import service as approvals
from environments_app.models import Approval, Membership, User
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from secrets_app.exposure import known_to
from secrets_app.models import Secret
from secrets_app.services.read import reveal, reveal_environment
from secrets_app.tests.kept import change, keep
from sync_app.domain.rotation_state import Step
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution import operator_actions
from sync_app.rotation.execution.compromise_response import AT_A_TIME
from sync_app.rotation.policies import service as policies
from sync_app.rotators.generated.tests.world import GeneratedWorld
from sync_app.tests.rotation.making import again, asked, made_policy, made_secret, stored, worked

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]
SignedIn = Callable[..., Client]
PAGE, API = "/rotation/exposure", "/api/exposure"


@pytest.fixture
def known(cast: Cast) -> dict[str, RotationPolicy | Secret]:
    """What bob has read: two under a policy, one by hand, one replaced; and one that he has not."""
    Membership.objects.create(environment=cast.production, user=cast.bob, role="reader")
    policy = made_policy(cast, GeneratedWorld(), secret=made_secret(cast, GeneratedWorld()))
    asleep = made_policy(cast, GeneratedWorld(), secret=made_secret(cast, GeneratedWorld(), name="asleep"))
    made_policy(cast, GeneratedWorld(), secret=made_secret(cast, GeneratedWorld(), name="unread"))
    kept = {name: keep(cast, name, environment=cast.development) for name in ("by/hand", "replaced")}
    elsewhere = keep(cast, "elsewhere", environment=cast.production)
    bob = cast.principal(cast.bob)
    reveal(actor=bob, secret=stored(policy.secret))
    reveal_environment(actor=bob, environment=cast.development, prefix="asleep")
    for secret in (*kept.values(), elsewhere):
        reveal(actor=bob, secret=secret)
    for value in ("second", "third"):
        change(cast, stored(kept["replaced"]), value)
    policies.suspend(actor=cast.principal(cast.alice), policy=asleep)
    return {"policy": policy, "asleep": asleep, **kept}


def post(client: Client, body: Any) -> Any:
    return client.post(API, body, content_type="application/json")


def test_the_api_tells_what_is_known_and_what_becomes_of_each(
    cast: Cast, known: dict[str, Any], signed_in: SignedIn, bearer: SignedIn
) -> None:
    alice = signed_in(cast.alice)
    told = alice.get(API, {"who": "bob"}).json()
    rows = {row["secret"]: row for row in told["secrets"]}
    assert rows.keys() == {"app/db", "asleep", "by/hand", "elsewhere"}
    assert (rows["app/db"]["policy"], rows["app/db"]["versions"]) == (known["policy"].pk, [1])
    assert [name for name, row in rows.items() if row["by_hand"]] == ["by/hand", "elsewhere"]
    assert "suspended" in rows["asleep"]["reason"]
    # A manager of one environment learns nothing of another one; its editors learn nothing at all.
    manager = bearer("manager", cast.development)
    assert "elsewhere" not in {row["secret"] for row in manager.get(API, {"who": "bob"}).json()["secrets"]}
    assert bearer("editor", cast.development).get(API, {"who": "bob"}).status_code == 403
    assert alice.get(API, {"who": "nobody"}).status_code == 404
    # An administrator sees it, and may do none of it.
    root = post(signed_in(cast.root), {"who": "bob", "confirm": "bob"}).json()
    assert not any(row["done"] for row in root["results"])
    assert not Rotation.objects.exists()
    assert post(alice, {"who": "bob", "confirm": "alice"}).status_code == 400
    done = {row["secret"]: row for row in post(alice, {"who": "bob", "confirm": "bob"}).json()["results"]}
    assert [name for name, row in done.items() if row["done"]] == ["app/db", "by/hand", "elsewhere"]
    assert done["by/hand"]["marked"]
    rotation = Rotation.objects.get()
    assert (rotation.pk, rotation.reason) == (done["app/db"]["rotation"], "known to bob")
    # Doing it again asks for nothing twice.
    repeated = post(alice, {"who": str(cast.bob.uuid), "confirm": "bob"}).json()["results"]
    assert not any(row["done"] for row in repeated)
    # A common rotation leaves the value a grace; an emergency ends it and rotates once more.
    assert worked(rotation).step == Step.GRACE
    urgent = post(alice, {"who": "bob", "confirm": "bob", "emergency": True}).json()["results"]
    assert [row["secret"] for row in urgent if row["rotation"]] == ["app/db"]
    assert worked(rotation).step == Step.DONE
    assert worked(Rotation.objects.get(emergency=True)).step == Step.DONE
    assert "app/db" not in {row["secret"] for row in alice.get(API, {"who": "bob"}).json()["secrets"]}


@pytest.mark.usefixtures("known")
def test_who_looks_at_what_somebody_knows_is_recorded_as_a_reader_of_the_trail(
    cast: Cast, signed_in: SignedIn, bearer: SignedIn
) -> None:
    views = AuditEvent.objects.filter(action=Action.TRAIL_VIEW).order_by("sequence")
    alice = signed_in(cast.alice)
    assert alice.get(PAGE).status_code == alice.get(PAGE, {"who": "bob"}).status_code == 200
    assert bearer("manager", cast.development).get(API, {"who": "bob"}).status_code == 200
    assert bearer("editor", cast.development).get(API, {"who": "bob"}).status_code == 403
    looked = [(view.actor_kind, view.details) for view in views.filter(outcome=Outcome.ALLOWED)]
    told = '{"face":"exposure","filters":{"reader":"user bob"}}'
    assert looked == [("user", told), ("token", told)]


def test_the_page_asks_for_the_name_and_tells_what_became_of_each(
    cast: Cast, known: dict[str, Any], signed_in: SignedIn
) -> None:
    alice = signed_in(cast.alice)
    shown = alice.get(PAGE, {"who": "bob"}).content.decode()
    assert "1 would rotate · 2 need manual rotation" in shown
    assert alice.get(PAGE, {"who": "nobody"}).status_code == 422
    for typed in ("", "bo"):
        assert alice.post(PAGE, {"who": "bob", "typed": typed}).status_code == 422
    assert not Rotation.objects.exists()
    done = alice.post(PAGE, {"who": "bob", "typed": "bob", "reason": "lost laptop"})
    assert "3 of 4 started" in done.content.decode()
    assert Rotation.objects.get().reason == "lost laptop"
    assert Secret.objects.get(name="by/hand").rotation_due_at is not None
    assert signed_in(cast.erin).get(PAGE).status_code == 403
    assert PAGE in alice.get("/rotation").content.decode()
    assert PAGE not in signed_in(cast.erin).get("/rotation").content.decode()


def test_in_a_protected_environment_each_waits_for_a_second_person_who_ends_the_grace_as_well(
    cast: Cast, known: dict[str, Any], signed_in: SignedIn
) -> None:
    first = worked(asked(cast, known["policy"]))
    assert first.step == Step.GRACE
    cast.development.protected = True
    cast.development.save()
    mia = User.objects.create_user("mia")
    Membership.objects.create(environment=cast.development, user=mia, role="manager")
    body = {"who": "bob", "confirm": "bob", "emergency": True}
    for _ in range(2):
        rows = {row["secret"]: row for row in post(signed_in(cast.alice), body).json()["results"]}
        approval = Approval.objects.get()
        assert rows["app/db"]["approval"] == approval.pk
    assert not Rotation.objects.filter(emergency=True).exists()
    assert not again(first).cut
    approved = approvals.approve(actor=cast.principal(mia), approval=approval)
    approvals.carry_out(actor=cast.principal(cast.alice), approval=approved)
    assert again(first).cut
    assert worked(first).step == Step.DONE
    assert Rotation.objects.get(emergency=True).step != Step.ABANDONED


def test_what_a_token_has_read_is_found_and_what_a_rotation_does_for_somebody_is_not_theirs(
    cast: Cast, known: dict[str, Any], signed_in: SignedIn
) -> None:
    token, text = issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci"
    )
    Client(headers={"authorization": f"Bearer {text}"}).get(
        f"/api/secrets/{known['by/hand'].pk}?stage=current"
    )
    for who in (str(token.uuid), "ci"):
        told = signed_in(cast.alice).get(API, {"who": who}).json()
        assert (told["who"], [row["secret"] for row in told["secrets"]]) == ("ci", ["by/hand"])
    # erin asks for rotations and rolls one back: the values went to the rotator, not to her.
    rotation = worked(asked(cast, known["policy"]))
    operator_actions.roll_back(actor=cast.principal(cast.erin), rotation=rotation)
    assert AuditEvent.objects.filter(actor_uuid=cast.erin.uuid, action=Action.SECRET_ROTATE).exists()
    assert known_to(cast.erin.uuid) == []


def test_a_name_that_several_go_by_is_not_guessed(cast: Cast, signed_in: SignedIn) -> None:
    alice, root = cast.principal(cast.alice), signed_in(cast.root)
    issued = [
        issue(actor=alice, environment=place, role="reader", name="ci")[0]
        for place in (cast.development, cast.production)
    ]
    shown = root.get(PAGE, {"who": "ci"})
    assert shown.status_code == 422
    for token in issued:
        assert str(token.uuid) in shown.content.decode()
    assert root.get(API, {"who": "ci"}).status_code == 400
    # A person's name means the person, until a token is named so as well.
    assert root.get(API, {"who": "bob"}).json()["who"] == "bob"
    issue(actor=alice, environment=cast.development, role="reader", name="bob")
    assert root.get(API, {"who": "bob"}).status_code == 400
    assert root.get(API, {"who": str(cast.bob.uuid)}).json()["who"] == "bob"


def test_the_name_of_a_token_elsewhere_is_not_told(cast: Cast, signed_in: SignedIn) -> None:
    issue(actor=cast.principal(cast.alice), environment=cast.production, role="reader", name="hidden")
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="manager")
    assert signed_in(cast.charlie).get(API, {"who": "hidden"}).status_code == 404
    assert signed_in(cast.root).get(API, {"who": "hidden"}).status_code == 200


def test_one_whose_rotation_stopped_needs_a_hand_first(
    cast: Cast, known: dict[str, Any], signed_in: SignedIn
) -> None:
    rotation = asked(cast, known["policy"])
    Rotation.objects.update(attempts=12, problem="the server does not answer")
    assert worked(rotation).stopped_at is not None
    for emergency in (False, True):
        body = {"who": "bob", "confirm": "bob", "emergency": emergency}
        rows = {row["secret"]: row for row in post(signed_in(cast.alice), body).json()["results"]}
        assert (rows["app/db"]["done"], "stopped" in rows["app/db"]["reason"]) == (False, True)
    assert Rotation.objects.count() == 1


def test_more_than_fit_are_taken_up_by_the_next_call(
    cast: Cast, known: dict[str, Any], signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert AT_A_TIME == 200
    monkeypatch.setattr("sync_app.rotation.execution.compromise_response.AT_A_TIME", 2)
    alice = signed_in(cast.alice)
    first = post(alice, {"who": "bob", "confirm": "bob"}).json()
    assert (sum(row["done"] for row in first["results"]), first["left"]) == (2, 1)
    second = post(alice, {"who": "bob", "confirm": "bob"}).json()
    assert (sum(row["done"] for row in second["results"]), second["left"]) == (1, 0)
