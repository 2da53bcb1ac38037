import pytest
from django.contrib.auth.models import Group

from environments_app.errors import InvalidField
from environments_app.tests.cast import Cast
from environments_app.users.accounts import find_group, user_by_name

pytestmark = pytest.mark.every_database


def test_a_person_is_found_in_any_spelling(cast: Cast) -> None:
    assert user_by_name("Alice") == cast.alice


@pytest.mark.parametrize("name", ["nobody", "\u0430lice", "\x00"])
def test_an_unknown_person_is_refused_at_the_field_that_was_filled_in(cast: Cast, name: str) -> None:
    with pytest.raises(InvalidField) as refusal:
        user_by_name(name, field="username")
    assert refusal.value.field == "username"


def test_a_group_is_found_by_its_exact_name_only(cast: Cast) -> None:
    group = Group.objects.create(name="Ops")
    assert find_group("Ops") == group
    with pytest.raises(InvalidField):
        find_group("ops")


@pytest.mark.parametrize("name", [None, ""])
def test_no_name_is_nobody(cast: Cast, name: str | None) -> None:
    assert user_by_name(name) is None
    assert find_group(name) is None
