"""Prepares secrets for their pages: rows of a list, fields of a structured value, filters in words."""

import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

import yaml
from django.http import QueryDict
from django.urls import reverse

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, allows
from secrets_app.forms.secret import FilterForm
from secrets_app.interfaces.secret_panels import Cell
from secrets_app.models import Secret
from secrets_app.secret_types.registry import SecretType
from secrets_app.secret_types.yaml_document import parse_yaml

MASK_AFTER_SECONDS: Final = 30
_RIGHTS: Final = {
    "reveal": Action.SECRET_REVEAL,
    "share": Action.SECRET_SHARE,
    "edit": Action.SECRET_UPDATE,
    "rollback": Action.SECRET_ROLLBACK,
    "delete": Action.SECRET_DELETE,
    "restore": Action.SECRET_RESTORE,
    "purge": Action.SECRET_PURGE,
}


def list_row(secret: Secret, cells: Sequence[Cell]) -> dict[str, Any]:
    """Return a row of the list of secrets."""
    return {
        "cells": cells,
        "id": secret.pk,
        "pick": f"{secret.pk}:{secret.etag}",
        "copy_url": reverse("secret-copy", args=[secret.pk]),
        "name": secret.name,
        "secret_type": secret.secret_type,
        "type_label": secret.get_secret_type_display(),
        "version": secret.current_number,
        "tags": secret.tags,
        "owner": secret.owner,
        "expires_at": secret.expires_at,
        "rotated_at": secret.rotated_at,
        "updated_at": secret.updated_at,
        "deleted_at": secret.deleted_at,
        "environment": secret.environment,
        "url": reverse("secret-detail", args=[secret.pk]),
    }


def rights(actor: Principal, secret: Secret) -> dict[str, bool]:
    """Return which actions the page of a secret offers; the use cases ask again."""
    allowed = {
        name: allows(actor, action, environment_id=secret.environment_id, name=secret.name)
        for name, action in _RIGHTS.items()
    }
    deleted = secret.live is None
    gone = {"reveal", "share", "edit", "rollback", "delete"} if deleted else {"restore", "purge"}
    return {name: may and name not in gone for name, may in allowed.items()}


def secret_urls(secret: Secret) -> dict[str, str]:
    """Return the addresses of the actions on a secret."""
    names = ("reveal", "copy", "edit", "delete", "restore", "purge", "rollback", "share", "diff")
    return {name: reverse(f"secret-{name}", args=[secret.pk]) for name in names}


def value_fields(secret_type: str, value: str) -> list[tuple[str, str]] | None:
    """Return the top-level fields of a JSON or YAML object, each as text; None if it has none.

    None as well for what cannot be taken apart: a value is then shown as it is, and no parser's
    message, which could quote it, goes anywhere.
    """
    if secret_type not in {SecretType.JSON, SecretType.YAML}:
        return None
    try:
        content = json.loads(value) if secret_type == SecretType.JSON else _only_document(value)
        if not isinstance(content, dict):
            return None
        return [
            (str(name), item if isinstance(item, str) else json.dumps(item, default=str, ensure_ascii=False))
            for name, item in content.items()
        ]
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None


def _only_document(value: str) -> object:
    documents = parse_yaml(value)
    return documents[0] if len(documents) == 1 else None


def active_filters(form: FilterForm, query: QueryDict) -> list[dict[str, str]]:
    """Return each filter in force, in words, with the address of the list without it."""
    found = []
    # How the list is shown is no filter of it.
    for name in [name for name in form.fields if name not in {"view", "ordering"}]:
        text = query.get(name, "")
        if text:
            rest = [(key, value) for key, value in query.items() if key not in {name, "cursor"} and value]
            shown = "deleted" if name == "deleted" else f"{name}: {text}"
            found.append({"label": shown, "remove_url": f"?{urlencode(rest)}"})
    return found
