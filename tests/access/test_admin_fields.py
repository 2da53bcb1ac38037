"""Every field that an operator may meet in the admin has a name and a help text in plain words."""

import re
from typing import Any, Final

from django.apps import apps
from django.db import models

_APPS: Final = ("audit_app", "environments_app", "secrets_app", "sync_app", "keeper_project")
# Names that Django derives from a column, and that are no words.
_NO_WORDS: Final = re.compile(r"\b(uuid|cidrs?|kms|saml|uri|url|id|at|mac)\b")
_LONGEST: Final = 200


def _models() -> list[type[models.Model]]:
    return [model for label in _APPS for model in apps.get_app_config(label).get_models()]


def _fields() -> dict[str, Any]:
    return {
        f"{model._meta.label}.{field.name}": field
        for model in _models()
        for field in model._meta.concrete_fields
        if not field.auto_created
    }


def _faults(field: Any) -> list[str]:
    """Return what is wrong with the words of a field."""
    name, text = str(field.verbose_name), str(field.help_text)
    if not text:
        return ["help_text: what it is, in which unit, and who sets it"]
    wrong = {
        f"name it in words: {name}": _NO_WORDS.search(name),
        f"begin with a capital, a quote or a number: {text}": not (
            text[0].isupper() or text[0] in '"0123456789'
        ),
        f"end with a full stop: {text}": not text.endswith("."),
        f"longer than {_LONGEST} characters: {text}": len(text) > _LONGEST,
        f"more than three sentences: {text}": text.count(". ") > 2,
    }
    return [fault for fault, holds in wrong.items() if holds]


def test_every_field_has_a_name_and_a_help_text() -> None:
    found = {label: _faults(field) for label, field in _fields().items()}
    assert len(found) > 500
    assert {label: faults for label, faults in found.items() if faults} == {}


def test_every_model_has_a_name_in_words() -> None:
    names = {model._meta.label: str(model._meta.verbose_name) for model in _models()}
    assert {label: name for label, name in names.items() if _NO_WORDS.search(name)} == {}
