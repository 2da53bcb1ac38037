"""A body is refused for what it lacks and for what is unknown, though only its own fields are copied."""

from typing import Any

import pytest
from rest_framework import serializers

from environments_app.api.fields import StrictSerializer, Text, WholeNumber


class Body(StrictSerializer):
    name = Text()
    count = WholeNumber(default=3)
    note = Text(required=False)
    shown = Text(read_only=True)


def given(body: Any) -> Any:
    serializer = Body(data=body)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


def test_it_takes_what_is_given_and_what_is_assumed() -> None:
    assert given({"name": "a"}) == {"name": "a", "count": 3}
    assert given({"name": "a", "count": 5, "note": "b"}) == {"name": "a", "count": 5, "note": "b"}


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {"name"}),
        ({"name": "a", "other": 1}, {"other"}),
        ({"name": "a", "shown": "b"}, {"shown"}),
        ({"note": 1, "other": 1}, {"name", "note", "other"}),
        (["name"], {"non_field_errors"}),
    ],
)
def test_it_names_every_fault_at_once(body: Any, faults: set[str]) -> None:
    with pytest.raises(serializers.ValidationError) as raised:
        given(body)
    assert set(raised.value.detail) == faults


def test_without_a_body_it_has_all_fields() -> None:
    assert list(Body().fields) == ["name", "count", "note", "shown"]


def test_fields_that_a_body_leaves_out_are_not_copied() -> None:
    assert list(Body(data={"name": "a"}).fields) == ["name", "count"]


def test_bodies_at_the_same_time_have_fields_of_their_own() -> None:
    class Nested(StrictSerializer):
        text = Text()
        list = serializers.ListField(child=Text())

    data = {"text": "a", "list": ["b"]}
    one: Any = Nested(data=data)
    two: Any = Nested(data=data)
    for body in (one, two):
        assert [body.fields["text"].parent, body.fields["list"].child.root] == [body, body]
    assert [one.fields["text"].parent, one.fields["list"].child.root] == [one, one]
    assert Nested._declared_fields["text"].parent is None
