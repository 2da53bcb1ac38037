"""A secret prepared for its page: acts, addresses, fields of a structured value, facts in plain words.

A fact reads `RSA 2048`, or `Valid 27 Nov 2026 to 17 Dec 2026`.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import yaml
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, allows
from secrets_app.acts import SECRETS
from secrets_app.models import Secret
from secrets_app.models.share import Proof
from secrets_app.services.outside import most_hours
from secrets_app.types.registry import SecretType
from secrets_app.types.yaml_document import parse_yaml

MASK_AFTER_SECONDS: Final = 30
_RIGHTS: Final = {
    "reveal": Action.SECRET_REVEAL,
    "share": Action.SECRET_SHARE,
    "edit": Action.SECRET_UPDATE,
}


def rights(actor: Principal, secret: Secret) -> dict[str, bool]:
    allowed = {
        name: secret.live is not None
        and allows(actor, action, environment_id=secret.environment_id, name=secret.name)
        for name, action in _RIGHTS.items()
    }
    return allowed | {act.name: not act.objection(actor, secret) for act in SECRETS}


def secret_urls(secret: Secret) -> dict[str, str]:
    names = ("rename", "duplicate", "share", *(act.slug for act in SECRETS if act.on_page))
    return {name: reverse(f"secret-{name}", args=[secret.pk]) for name in names}


def secret_actions(secret: Secret, can: Mapping[str, bool]) -> list[dict[str, Any]]:
    """Return the menu of a secret's page: links, and bulk actions (`act`) on it alone."""
    readable = can["copy"] and can["reveal"] and not secret.guarded
    urls = secret_urls(secret)
    by_acts = [
        {
            "label": f"{act.label}{'…' if act.question else ''}",
            "icon": act.icon,
            "url": urls[act.slug],
            "danger": act.dangerous,
            "post": not act.question,
        }
        for act in SECRETS
        if act.icon and can[act.name]
    ]
    offered: list[tuple[bool, dict[str, Any]]] = [
        (can["rename"], {"label": "Rename…", "icon": "edit", "url": urls["rename"]}),
        (readable, {"label": "Duplicate…", "icon": "copy", "url": urls["duplicate"]}),
        (readable, {"label": "Copy to environment…", "icon": "layers", "act": "copy"}),
        (readable and can["move"], {"label": "Move to environment…", "icon": "leave", "act": "move"}),
        (can["edit"], {"label": "Rotate…", "icon": "rotate", "act": "rotate"}),
        (
            can["share"] and not secret.guarded,
            {"label": "Share link (one-time)…", "icon": "people", "url": urls["share"]},
        ),
        (
            can["share"] and not secret.guarded and most_hours(secret.environment) > 0,
            {
                "label": "Share with someone outside…",
                "icon": "user-plus",
                "url": f"{urls['share']}?to={Proof.PHRASE}",
            },
        ),
    ]
    return [action for may, action in offered if may] + by_acts


def value_fields(secret_type: str, value: str) -> list[tuple[str, str]] | None:
    """Return the top-level fields of a JSON or YAML object, each as text; None if it has none.

    No parser's message is passed on, since it could quote the value.
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


_SHOWN_ELSEWHERE = {
    "not_before", "not_after", "key_algorithm", "key_bits", "algorithm", "bits", "san_count", "chain_length",
    "self_issued", "issuer",
}  # fmt: skip


def fact_rows(secret: Secret) -> list[tuple[str, Any]]:
    """Return the facts of a secret's value by their names, the composed ones first; no MAC covers them."""
    facts = secret.facts if isinstance(secret.facts, dict) else {}
    if secret.secret_type not in {SecretType.CERTIFICATE, SecretType.SSH_KEY}:
        return _plain(facts, set())
    algorithm = facts.get("key_algorithm") or facts.get("algorithm") or ""
    bits = facts.get("key_bits") or facts.get("bits") or ""
    rows: list[tuple[str, Any]] = [("Key", f"{algorithm} {bits}".strip())]
    if secret.secret_type == SecretType.CERTIFICATE:
        length = facts.get("chain_length")
        rows = [
            ("Valid", _validity(facts)),
            *rows,
            ("Issuer", "Self-signed" if facts.get("self_issued") else facts.get("issuer")),
            ("Chain", f"{length} certificates" if isinstance(length, int) and length > 1 else ""),
        ]
    return [row for row in rows if row[1]] + _plain(facts, _SHOWN_ELSEWHERE)


def _plain(facts: Mapping[str, Any], without: set[str]) -> list[tuple[str, Any]]:
    return [
        (name, fact)
        for name, fact in facts.items()
        if name not in without and (fact or fact is False or fact == 0)
    ]


def _validity(facts: Mapping[str, Any]) -> str:
    begin, end = (_moment(facts.get(name)) for name in ("not_before", "not_after"))
    if begin is None or end is None:
        return ""
    days = (end - timezone.now()).days
    left = f"{days} day{'' if days == 1 else 's'} left" if end > timezone.now() else "expired"
    return f"{_date(begin)} to {_date(end)} ({left})"


def _date(moment: datetime) -> str:
    return f"{moment.astimezone(UTC).day} {moment.astimezone(UTC):%b %Y}"


def _moment(text: Any) -> datetime | None:
    try:
        return parse_datetime(text) if isinstance(text, str) else None
    except ValueError:
        return None
