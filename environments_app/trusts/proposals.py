"""What approvers see of a new trust, or of a change that widens one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import uuid5

from audit_app.events.actions import Action
from audit_app.integrity.row_state import state_digest
from audit_app.recording.drafts import AuditObject
from environments_app.approvals.access_proposals import plain_values
from environments_app.approvals.gate import Line, Proposal
from environments_app.models import Trust
from environments_app.trusts.definition import FIELDS

_LABELS: Final[Mapping[str, str]] = {
    "name": "Name",
    "preset": "Platform",
    "issuer": "Issuer",
    "jwks_url": "Address of the keys",
    "jwks": "Pasted keys",
    "audience": "Audience",
    "algorithm": "Algorithm",
    "claims": "Claims",
    "role": "Role",
    "prefix": "Path",
    "cidrs": "Allowed IP ranges",
    "lifetime_minutes": "Minutes that a token is valid",
    "max_age_minutes": "Oldest JWT in minutes",
    "single_use": "Each JWT once",
    "allows_pull_request_target": "Allow pull_request_target",
    "expires_at": "Expires",
    "enabled": "Enabled",
}


def creating_trust(trust: Trust, *, lasting: str | None) -> Proposal:
    """Return the proposal to create a trust; `lasting` is its end as it was asked for."""
    fields = {name: getattr(trust, name) for name in FIELDS}
    return Proposal(
        action=Action.TRUST_CREATE,
        environment=trust.environment,
        object=AuditObject("trust", uuid5(trust.environment.uuid, f"trust {trust.name}"), trust.name),
        arguments={**plain_values(fields), "expires_at": lasting},
        summary=[
            *(Line(_LABELS[name], "", _word(name, value)) for name, value in fields.items() if value),
            Line("Expires", "", _word("expires_at", trust.expires_at)),
        ],
    )


def changing_trust(trust: Trust, changes: Mapping[str, Any]) -> Proposal:
    """Return the proposal to change a stored trust; `changes` has `enabled`, not the time of disabling."""
    now = {**{name: getattr(trust, name) for name in FIELDS}, "expires_at": trust.expires_at}
    now["enabled"] = trust.disabled_at is None
    return Proposal(
        action=Action.TRUST_CHANGE,
        environment=trust.environment,
        object=AuditObject("trust", trust.uuid, trust.name),
        expected=state_digest(trust),
        arguments={"trust": trust.pk, **plain_values(changes)},
        summary=[
            Line(_LABELS[name], _word(name, now[name]), _word(name, value))
            for name, value in changes.items()
            if now[name] != value
        ],
    )


def _word(name: str, value: Any) -> str:
    if name == "jwks":
        return f"{len(value)} characters of keys" if value else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{claim} = {wanted}" for claim, wanted in sorted(value.items()))
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M UTC")
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "Any"
    return "Never" if value is None else str(value)
