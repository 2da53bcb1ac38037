"""Credentials of Keeper's own (targets, webhooks): which columns hold them, and under which data keys.

They are found through the models, so that an app above adds one without a word here.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db.models import Count, QuerySet

from environments_app.models import Environment
from secrets_app.envelope import NO_ENVIRONMENT
from secrets_app.keys.encrypted_field import EncryptedField


def credential_fields() -> Iterator[EncryptedField]:
    """Yield the sealed column of each model whose rows have an environment and a data key."""
    for model in apps.get_models():
        fields = model._meta.get_fields()
        if {"environment", "data_key"} <= {field.name for field in fields}:
            yield from (field for field in fields if isinstance(field, EncryptedField))


def under_other_keys(field: EncryptedField, environment: Environment, data_key: UUID) -> QuerySet[Any]:
    """Return the rows of an environment that another data key seals."""
    rows: QuerySet[Any] = QuerySet(field.model).filter(environment=environment)
    return rows.exclude(data_key__uuid=data_key).order_by("pk")


def counts(scope: UUID) -> Counter[UUID]:
    """Count the rows under each data key of a scope; one statement a model."""
    counted: Counter[UUID] = Counter()
    if scope == NO_ENVIRONMENT:
        return counted
    for field in credential_fields():
        rows: QuerySet[Any] = QuerySet(field.model).filter(data_key__scope=scope).order_by()
        counted.update(dict(rows.values_list("data_key_id").annotate(Count("pk"))))
    return counted
