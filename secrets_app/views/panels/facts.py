"""The facts parsed from a value, in plain words: `RSA 2048`, `Valid 27 Nov 2026 to 17 Dec 2026`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from secrets_app.models import Secret
from secrets_app.secret_types.registry import SecretType

_SHOWN_ELSEWHERE = {
    "not_before", "not_after", "key_algorithm", "key_bits", "algorithm", "bits", "san_count", "chain_length",
    "self_issued", "issuer",
}  # fmt: skip


def fact_rows(secret: Secret) -> list[tuple[str, Any]]:
    """Return the facts of a secret's value by their names, the composed ones first.

    No MAC covers them, so that they may be anything.
    """
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
