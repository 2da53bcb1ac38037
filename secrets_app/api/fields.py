"""Serializer fields of secrets, beside those that every API of Keeper uses."""

from typing import Any

from rest_framework import serializers

from environments_app.api.fields import Text
from secrets_app.errors import InvalidName, InvalidValue
from secrets_app.secret_types.registry import SecretType, parse_secret_type
from secrets_app.values.names import MAX_NAME_LENGTH, NAME_PATTERN, validate_secret_name


class ExactText(Text):
    """Text whose bounds the use case checks; they are declared here for the OpenAPI document."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.validators = []


class SecretName(ExactText):
    """A secret's name; its errors are reported together with those of other fields."""

    def __init__(self, **options: Any) -> None:
        super().__init__(pattern=NAME_PATTERN, min_length=1, max_length=MAX_NAME_LENGTH, **options)

    def to_internal_value(self, data: Any) -> str:
        """Return the name. The refusal does not repeat what was sent."""
        text = super().to_internal_value(data)
        try:
            return validate_secret_name(text)
        except InvalidName as error:
            raise serializers.ValidationError(error.reason) from error


class TypeField(serializers.ChoiceField):
    """A secret type, in any case and with `-` or `_`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(choices=SecretType.choices, **options)

    def to_internal_value(self, data: Any) -> SecretType:
        """Return the type. The refusal lists the types and does not repeat what was sent."""
        try:
            return parse_secret_type(data)
        except InvalidValue as error:
            raise serializers.ValidationError(error.reason) from error
