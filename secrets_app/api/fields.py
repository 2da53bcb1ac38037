"""Serializer fields of secrets, beside those that every API of Keeper uses."""

from typing import Any

from rest_framework import serializers

from environments_app.api.fields import Text
from secrets_app.input_errors import InvalidValue
from secrets_app.secret_types import SecretType, parse_secret_type


class ExactText(Text):
    """Text whose bounds the use case checks; they stand here for the OpenAPI document."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.validators = []


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
