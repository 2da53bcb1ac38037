"""Prepares a secret for its page: what it offers, its addresses, the fields of a structured value."""

import json
from typing import Final

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
