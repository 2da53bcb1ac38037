"""Serializer fields that take JSON as it is: no number for a text, no unknown names."""

import copy
import re
from collections.abc import Mapping
from typing import Any, Final, cast

from django.db.models import TextChoices
from rest_framework import serializers

from environments_app.errors import InvalidField

_PRINTABLE_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,40}")


class Text(serializers.CharField):
    """A JSON string exactly as it was sent; bounds and meaning are the use case's.

    `pattern` is what such a text has to match, for the OpenAPI document.
    """

    def __init__(self, *, pattern: str = "", **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, "allow_blank": True, **options})
        self.pattern = pattern

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("This must be a string.")
        return super().to_internal_value(data)


class Truth(serializers.BooleanField):
    """A JSON truth value; neither "yes" nor 1."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("This must be true or false.")
        return data


class WholeNumber(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            raise serializers.ValidationError("This must be a whole number.")
        return super().to_internal_value(data)


class StateField(serializers.ChoiceField):
    """A stored state by its public name: that of the enumeration's member, in lower case."""

    def __init__(self, states: type[TextChoices], **options: Any) -> None:
        self.states = states
        super().__init__(**{"choices": public_states(states), **options})

    def to_representation(self, value: Any) -> str:
        return self.states(value).name.lower()


def public_states(states: type[TextChoices]) -> list[str]:
    """Return the public names of the states, in the order of their definition."""
    return [state.name.lower() for state in states]


def stored_state(states: type[TextChoices], name: str) -> TextChoices:
    """Return the state of a public name. Raises InvalidField if there is none."""
    if name not in public_states(states):
        raise InvalidField("state", f"Choose one of {', '.join(public_states(states))}.")
    return states[name.upper()]


class Moment(serializers.DateTimeField):
    """A time in ISO 8601, as a JSON string."""

    def to_internal_value(self, value: Any) -> Any:
        """Refuse what is not a JSON string, and times that no clock can show."""
        if not isinstance(value, str):
            raise serializers.ValidationError("Enter an ISO 8601 date-time with time zone.")
        try:
            return super().to_internal_value(value)
        except OverflowError as error:
            raise serializers.ValidationError("This time is out of range.") from error


def by_name(slug_field: str, *, allow_null: bool = True) -> serializers.SlugRelatedField[Any]:
    """Return the field of a related row that is answered as its name; null if there is none."""
    return serializers.SlugRelatedField(slug_field=slug_field, read_only=True, allow_null=allow_null)


_WITH_PARTS: Final = (serializers.BaseSerializer, serializers.ListField, serializers.DictField)


# Refuses fields that it does not know, so that a typing error is not a silent loss.
class StrictSerializer(serializers.Serializer[Any]):
    def get_fields(self) -> dict[str, Any]:
        """Return the fields that a JSON object gives or must give; otherwise all.

        To copy all fields would be most of the work of reading a small body.
        """
        data = getattr(self, "initial_data", None)
        if type(data) is not dict:
            return super().get_fields()
        return {
            name: _copied(field)
            for name, field in self._declared_fields.items()
            if name in data or field.required or field.default is not serializers.empty
        }

    def missing(self, data: Mapping[Any, Any]) -> dict[str, list[str]]:
        """Return what is missing where no field alone is required, by the name of a field."""
        return {}

    def to_internal_value(self, data: Any) -> Any:
        """Return the fields, or refuse everything that is wrong with them at once."""
        names = data if isinstance(data, Mapping) else {}
        unknown = [name for name in names if name not in self.fields or self.fields[name].read_only]
        faults: dict[str, Any] = {_shown(name): ["This field is unknown."] for name in unknown}
        faults |= self.missing(names)
        try:
            fields = super().to_internal_value(data)
        except serializers.ValidationError as error:
            raise serializers.ValidationError(
                faults | dict(cast("Mapping[str, Any]", error.detail))
            ) from error
        if faults:
            raise serializers.ValidationError(faults)
        return fields


def _copied(field: Any) -> Any:
    """Return a field that can be bound to a serializer: one without parts is not made again for that."""
    return copy.deepcopy(field) if isinstance(field, _WITH_PARTS) else copy.copy(field)


def _shown(name: object) -> str:
    """Return a field's name if it looks like one: a secret pasted there is not repeated."""
    return name if isinstance(name, str) and _PRINTABLE_NAME.fullmatch(name) else "(another)"
