"""Holds all of a deleted environment against what Keeper wrote, before it is removed for good.

A removal must not take away what proves that the database was edited. No value is opened: an environment
whose key is destroyed can be removed.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.models import QuerySet
from django.utils.module_loading import import_string

from audit_app.events.streams import environment_stream
from audit_app.integrity.check_registry import Problem, readable
from audit_app.integrity.row_authentication import AuthenticatedRow, named_by_mac
from audit_app.integrity.row_state import (
    LatestDigest,
    acts_on_rows,
    batches,
    latest_digests,
    mismatches,
    missing_rows,
    object_name,
)
from core.db.bulk import in_batches
from environments_app.models import Environment

_UUIDS_PER_QUERY = 200


def problems_of(environment: Environment) -> Iterator[Problem]:
    """Yield each row of an environment that was edited, put back or lost outside Keeper."""
    yield from readable(_of_rows(environment), "a row of the environment")
    for path in settings.KEEPER_PURGE_CHECKS:
        yield from readable(import_string(path)(environment), f"check {path}")


def _of_rows(environment: Environment) -> Iterator[Problem]:
    stream = environment_stream(environment.uuid)
    states = latest_digests(acts_on_rows(), stream=stream)
    missing = {uuid for uuid, state in states.items() if state.digest is not None}
    tree: list[tuple[type[models.Model], str]] = [(Environment, "pk"), *dependents()]
    for model, path in tree:
        if not issubclass(model, AuthenticatedRow):
            continue
        rows: QuerySet[Any] = QuerySet(model).filter(**{path: environment.pk})
        for batch in batches(rows.prefetch_related(*named_by_mac(model))):
            missing.difference_update(str(row.uuid) for row in batch)
            for row in batch:
                if not row.is_authentic():
                    yield Problem(
                        kind="edited", object=object_name(row), message="it was not written by Keeper"
                    )
            # The events were read first: what changed since then is held against its own.
            suspects = [row for row in batch if _differs(row, states)]
            yield from mismatches(suspects, latest_digests(acts_on_rows()) if suspects else {})
    yield from _lost(missing)


def _differs(row: AuthenticatedRow, states: dict[str, LatestDigest]) -> bool:
    return any(True for _ in mismatches([row], states))


def _lost(missing: set[str]) -> Iterator[Problem]:
    """Yield the rows whose newest event says that they stand, and that no table has."""
    for model in apps.get_models():
        if missing and issubclass(model, AuthenticatedRow):
            rows: QuerySet[Any] = QuerySet(model)
            for some in in_batches(sorted(missing), _UUIDS_PER_QUERY):
                missing.difference_update(map(str, rows.filter(uuid__in=some).values_list("uuid", flat=True)))
    yield from missing_rows(missing)


def relations(model: type[models.Model]) -> list[Any]:
    """Return the foreign keys of other models to a model, those without a name on it too."""
    fields = model._meta.get_fields(include_hidden=True)
    return [each for each in fields if each.auto_created and (each.one_to_many or each.one_to_one)]


@cache
def dependents() -> list[tuple[type[models.Model], str]]:
    """Return what leads to an environment, each model with its path, those that others name last."""
    found: list[tuple[type[models.Model], str]] = []

    def walk(model: type[models.Model], path: str, above: frozenset[type[models.Model]]) -> None:
        for relation in relations(model):
            child = relation.related_model
            own = f"{relation.field.name}__{path}" if path else relation.field.name
            if child not in above:
                walk(child, own, above | {child})
            found.append((child, own))

    walk(Environment, "", frozenset({Environment}))
    return found
