"""`visible` answers as `allows` does; service tokens stand for secrets, since both have the two columns."""

from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from audit_app.events.actions import Action
from audit_app.events.actors import NIL, ActorKind
from environments_app.authorization.policy import (
    Grant,
    Principal,
    allows,
    environments_for,
    visible,
    visible_environments,
)
from environments_app.models import Environment, Role, ServiceToken
from environments_app.tests.cast import Cast

NAMES = [
    "pay",
    "Pay",
    "pay/db",
    "PAY/db",
    "pay/db/x",
    "payments",
    "pay-x",
    "pay0",
    "pay.",
    "a",
    "a/b",
    "a/b/c",
    "a%b",
    "a_b",
    "zz",
]
PREFIXES = ["", "pay", "pay/db", "a", "a/b", "a_b", "a%", "z"]
ACTIONS = [Action.SECRET_VIEW, Action.SECRET_REVEAL, Action.SECRET_UPDATE, Action.SECRET_PURGE]


@pytest.fixture
def places(db: None) -> list[Environment]:
    places = [Environment.objects.create(name=name) for name in ("one", "two")]
    for number, place in enumerate(places):
        for index, name in enumerate(NAMES):
            ServiceToken.objects.create(
                environment=place,
                name=name,
                role="viewer",
                public_id=f"{number}-{index}",
                pepper_id="",
                secret_hash="",
            )
    return places


# Letters that LIKE takes for others, case, a name that only begins like the prefix, and a higher role elsewhere.
@example(grants=[(0, Role.READER, "a_b"), (1, Role.READER, "a%")], admin=False, action=Action.SECRET_REVEAL)
@example(grants=[(0, Role.VIEWER, "pay"), (1, Role.MANAGER, "")], admin=False, action=Action.SECRET_PURGE)
@example(grants=[(0, Role.VIEWER, ""), (0, Role.EDITOR, "pay/db")], admin=True, action=Action.SECRET_UPDATE)
@example(grants=[], admin=True, action=Action.SECRET_REVEAL)
@given(
    grants=st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from(list(Role)), st.sampled_from(PREFIXES)), max_size=4
    ),
    admin=st.booleans(),
    action=st.sampled_from(ACTIONS),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_selects_exactly_what_is_allowed(
    places: list[Environment], grants: list[tuple[int, Role, str]], admin: bool, action: Action
) -> None:
    principal = Principal(
        kind=ActorKind.USER, uuid=NIL, name="somebody", is_admin=admin,
        grants=tuple(
            Grant(environment_id=places[number].pk, environment_uuid=UUID(int=number), environment_name="", role=role, prefix=prefix)
            for number, role, prefix in grants
        ),
    )  # fmt: skip
    seen = set(ServiceToken.objects.filter(visible(principal, action)).values_list("pk", flat=True))
    allowed = {
        row.pk
        for row in ServiceToken.objects.all()
        if allows(principal, action, environment_id=row.environment_id, name=row.name)
    }
    assert seen == allowed


def test_a_place_is_one_for_all_of_which_an_act_is_allowed(places: list[Environment]) -> None:
    principal = Principal(
        kind=ActorKind.USER, uuid=NIL, name="somebody",
        grants=tuple(
            Grant(environment_id=place.pk, environment_uuid=UUID(int=place.pk), environment_name="", role=Role.MANAGER, prefix=prefix)
            for place, prefix in zip(places, ("", "pay"), strict=True)
        ),
    )  # fmt: skip
    for action in Action:
        condition = environments_for(principal, action)
        found = set() if condition is None else set(Environment.objects.filter(condition))
        assert found == {
            each for each in places if allows(principal, action, environment_id=each.pk, name="")
        }


@pytest.mark.every_database
def test_one_sees_the_environments_one_has_a_part_of(cast: Cast) -> None:
    def seen(user: str) -> set[str]:
        condition = visible_environments(cast.principal(getattr(cast, user)))
        return set(Environment.objects.filter(condition).values_list("name", flat=True))

    assert seen("alice") == {"development", "production"}
    assert seen("vera") == {"development"}
    assert seen("charlie") == set()
    assert seen("root") == {"development", "production"}
