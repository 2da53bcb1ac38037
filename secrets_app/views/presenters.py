"""Prepares a secret for its page: what it offers, its addresses, the fields of a structured value."""

import json
from collections.abc import Mapping
from typing import Any, Final

import yaml
from django.urls import reverse

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, allows
from secrets_app.models import Secret
from secrets_app.secret_types.registry import SecretType
from secrets_app.secret_types.yaml_document import parse_yaml

MASK_AFTER_SECONDS: Final = 30
_RIGHTS: Final = {
    "reveal": Action.SECRET_REVEAL,
    "share": Action.SECRET_SHARE,
    "edit": Action.SECRET_UPDATE,
    "rename": Action.SECRET_RENAME,
    "copy": Action.SECRET_COPY,
    "move": Action.SECRET_MOVE,
    "rollback": Action.SECRET_ROLLBACK,
    "delete": Action.SECRET_DELETE,
    "restore": Action.SECRET_RESTORE,
    "purge": Action.SECRET_PURGE,
}


def rights(actor: Principal, secret: Secret) -> dict[str, bool]:
    """Return which actions the page of a secret offers; the use cases ask again."""
    allowed = {
        name: allows(actor, action, environment_id=secret.environment_id, name=secret.name)
        for name, action in _RIGHTS.items()
    }
    deleted = secret.live is None
    of_deleted = {"restore", "purge"}
    return {name: may and (name in of_deleted) == deleted for name, may in allowed.items()}


def secret_urls(secret: Secret) -> dict[str, str]:
    """Return the addresses of the actions on a secret."""
    names = (
        "reveal",
        "copy",
        "edit",
        "delete",
        "restore",
        "purge",
        "rollback",
        "share",
        "diff",
        "rename",
        "duplicate",
        "star",
    )
    return {name: reverse(f"secret-{name}", args=[secret.pk]) for name in names}


def secret_actions(secret: Secret, can: Mapping[str, bool]) -> list[dict[str, Any]]:
    """Return the menu of a secret's page: links, and bulk actions (`act`) on it alone."""
    readable = can["copy"] and can["reveal"]
    urls = secret_urls(secret)
    offered: list[tuple[bool, dict[str, Any]]] = [
        (can["rename"], {"label": "Rename…", "icon": "edit", "url": urls["rename"]}),
        (readable, {"label": "Duplicate…", "icon": "copy", "url": urls["duplicate"]}),
        (readable, {"label": "Copy to environment…", "icon": "layers", "act": "copy"}),
        (readable and can["move"], {"label": "Move to environment…", "icon": "leave", "act": "move"}),
        (can["edit"], {"label": "Rotate…", "icon": "rotate", "act": "rotate"}),
        (can["share"], {"label": "Share link (one-time)…", "icon": "people", "url": urls["share"]}),
        (can["delete"], {"label": "Delete…", "icon": "trash", "url": urls["delete"], "danger": True}),
    ]
    return [action for may, action in offered if may]


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
