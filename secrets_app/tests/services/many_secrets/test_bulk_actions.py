"""Acts on many: a preview says of each what the act then does, and no more are taken than a request may."""

from typing import Any

import pytest

from audit_app.models import AuditEvent
from environments_app.models import Membership, Role, User
from environments_app.tests.cast import Cast
from secrets_app.errors import TooManyItems
from secrets_app.models import Secret
from secrets_app.services import lifecycle
from secrets_app.services.bulk_actions import (
    BULK_ACTIONS,
    MAX_CHOSEN,
    MAX_MATCHING,
    Options,
    execute,
    preview,
)
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.every_database_weekly

PEOPLE = {"manager": "alice", "editor": "erin", "reader": "bob", "viewer": "vera"}
# Where the secret is; each may create at the other end.
MAY = {"manager", "editor"}


def stored() -> Secret:
    return Secret.objects.select_related("environment").get(
        name="payments/key", environment__name="development"
    )


def told(cast: Cast, user: User, act: str, **options: Any) -> str:
    (line,) = preview(
        actor=cast.principal(user), act=BULK_ACTIONS[act], secrets=[stored()], options=Options(**options)
    )
    return line.reason


def done(cast: Cast, user: User, act: str, **options: Any) -> bool:
    secret = stored()
    (result,) = execute(
        actor=cast.principal(user),
        act=BULK_ACTIONS[act],
        secrets=[secret],
        seen={secret.pk: secret.etag},
        options=Options(**options),
    )
    return result.done


def options_of(cast: Cast, act: str) -> dict[str, Any]:
    if BULK_ACTIONS[act].needs == "tags":
        return {"tags": ["a"]}
    return {"environment": cast.production} if BULK_ACTIONS[act].needs else {}


@pytest.mark.parametrize("role", PEOPLE)
@pytest.mark.parametrize("act", BULK_ACTIONS)
def test_the_preview_promises_each_role_what_the_act_then_does(cast: Cast, act: str, role: str) -> None:
    user: User = getattr(cast, PEOPLE[role])
    if user != cast.alice:
        Membership.objects.create(environment=cast.production, user=user, role=Role.EDITOR)
    secret = keep(cast, tags=["a", "b"])
    if BULK_ACTIONS[act].on_deleted:
        lifecycle.delete(actor=cast.principal(cast.alice), secret=secret)
    options = options_of(cast, act)

    promised = told(cast, user, act, **options) == ""

    assert promised is (role in MAY)
    assert done(cast, user, act, **options) is promised


@pytest.mark.parametrize("act", BULK_ACTIONS)
def test_an_act_takes_nothing_that_is_in_the_other_state(cast: Cast, act: str) -> None:
    secret = keep(cast)
    if not BULK_ACTIONS[act].on_deleted:
        lifecycle.delete(actor=cast.principal(cast.alice), secret=secret)
    before = set(AuditEvent.objects.values_list("action", "object_uuid", "outcome"))
    expected = "Not deleted." if BULK_ACTIONS[act].on_deleted else "Deleted."
    assert told(cast, cast.alice, act, **options_of(cast, act)) == expected
    assert not done(cast, cast.alice, act, **options_of(cast, act))
    # Neither was a value opened, nor was anything written.
    assert set(AuditEvent.objects.values_list("action", "object_uuid", "outcome")) == before
    assert Secret.objects.count() == 1


@pytest.mark.parametrize("act", [name for name, act in BULK_ACTIONS.items() if act.there])
def test_who_may_not_create_at_the_other_end_is_told_before(cast: Cast, act: str) -> None:
    keep(cast)
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.READER)
    place = {"environment": cast.production}
    assert told(cast, cast.erin, act, **place) == "Your role in production doesn't allow this."
    assert not done(cast, cast.erin, act, **place)
    keep(cast, environment=cast.production)
    assert told(cast, cast.alice, act, **place) == "Already exists in production."
    assert not done(cast, cast.alice, act, **place)
    assert Secret.objects.filter(live=True).count() == 2


def test_no_more_are_taken_than_a_request_may(cast: Cast) -> None:
    secret, alice = keep(cast), cast.principal(cast.alice)
    act, nothing = BULK_ACTIONS["delete"], Options()
    assert (
        len(preview(actor=alice, act=act, secrets=[secret] * MAX_MATCHING, options=nothing)) == MAX_MATCHING
    )
    with pytest.raises(TooManyItems):
        preview(actor=alice, act=act, secrets=[secret] * (MAX_MATCHING + 1), options=nothing)
    # None was seen in a preview: each is refused by itself.
    results = execute(actor=alice, act=act, secrets=[secret] * MAX_CHOSEN, seen={}, options=nothing)
    assert [each.done for each in results] == [False] * MAX_CHOSEN
    with pytest.raises(TooManyItems):
        execute(
            actor=alice,
            act=act,
            secrets=[secret] * (MAX_CHOSEN + 1),
            seen={secret.pk: secret.etag},
            options=nothing,
        )
    assert Secret.objects.get().live
