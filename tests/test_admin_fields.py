"""Every field that an operator may meet in the admin has a name and a help text in plain words."""

import re
from typing import Any, Final

import pytest
from django.apps import apps
from django.db import models

_APPS: Final = ("audit_app", "environments_app", "secrets_app", "sync_app", "keeper_project")
# Names that Django derives from a column, and that are no words.
_NO_WORDS: Final = re.compile(r"\b(uuid|cidrs?|kms|saml|uri|url|id|at|mac)\b")
_LONGEST: Final = 200


def _models() -> list[type[models.Model]]:
    return [model for label in _APPS for model in apps.get_app_config(label).get_models()]


def _fields() -> list[Any]:
    return [
        pytest.param(field, id=f"{model._meta.label}.{field.name}")
        for model in _models()
        for field in model._meta.concrete_fields
        if not field.auto_created
    ]


@pytest.mark.parametrize("field", _fields())
def test_every_field_has_a_name_and_a_help_text(field: Any) -> None:
    name, text = str(field.verbose_name), str(field.help_text)
    assert not _NO_WORDS.search(name), f"name it in words: {name}"
    assert text, "help_text: what it is, in which unit, and who sets it"
    assert text[0].isupper() or text[0] in '"0123456789', text
    assert text.endswith("."), text
    assert len(text) <= _LONGEST, text
    assert text.count(". ") <= 2, text


@pytest.mark.parametrize("model", _models(), ids=lambda model: model._meta.label)
def test_every_model_has_a_name_in_words(model: type[models.Model]) -> None:
    assert not _NO_WORDS.search(str(model._meta.verbose_name)), model._meta.verbose_name
