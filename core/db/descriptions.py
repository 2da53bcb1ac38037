"""A migration operation that takes over the descriptions of fields, which are no part of the schema."""

from typing import Any, cast

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Field

_OF_FIELDS = ("help_text", "verbose_name")
_OF_MODELS = ("verbose_name", "verbose_name_plural")


class AdoptDescriptions(Operation):
    """Takes `help_text` and `verbose_name` of an app's models and fields as they are in the code.

    One `AlterField` for each of 500 fields would rebuild the models 500 times in each run of the migrations,
    which takes seven seconds, and would run no SQL. A changed text needs no further migration.
    """

    reversible = True
    reduces_to_sql = False

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        for (label, _name), model in state.models.items():
            if label == app_label:
                _describe(model)

    def database_forwards(self, *_arguments: Any, **_named: Any) -> None:
        """Change nothing: a description is not stored in the database."""

    def database_backwards(self, *_arguments: Any, **_named: Any) -> None:
        """Change nothing: a description is not stored in the database."""

    def describe(self) -> str:
        return "Describe the fields of all models"


def _describe(model: ModelState) -> None:
    now = {each._meta.model_name: each for each in apps.get_app_config(model.app_label).get_models()}
    current = now.get(model.name.lower())
    if current is None:
        return
    texts = current._meta.original_attrs
    model.options.update({name: texts[name] for name in _OF_MODELS if name in texts})
    for name, field in model.fields.items():
        try:
            described = current._meta.get_field(name)
        except FieldDoesNotExist:
            continue
        if isinstance(described, Field):
            model.fields[name] = _with_texts_of(described, field)


def _with_texts_of(described: "Field[Any, Any]", field: "Field[Any, Any]") -> "Field[Any, Any]":
    _, _, arguments, options = field.deconstruct()
    _, _, _, current = described.deconstruct()
    kept = {name: option for name, option in options.items() if name not in _OF_FIELDS}
    texts = {name: current[name] for name in _OF_FIELDS if name in current}
    make: Any = type(field)
    return cast("Field[Any, Any]", make(*arguments, **kept, **texts))
