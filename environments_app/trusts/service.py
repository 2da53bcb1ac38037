"""Use cases of trusts: creating, changing, disabling and deleting them, and what approvers see.

Approvers see a new trust, and a change that widens one.
"""

import copy
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import uuid5

from django.core.cache import cache
from django.db import IntegrityError
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_state import row_digest_entry, state_digest
from audit_app.recording.drafts import AuditObject, EventDraft
from core.canonical_json import Json
from environments_app.approvals.access_proposals import plain_values
from environments_app.approvals.broken_glass import record_breaking
from environments_app.approvals.gate import (
    ApprovalGrant,
    Line,
    Proposal,
    needs_second_person,
    require_approval,
)
from environments_app.authorization.break_glass import confirm_grant, opens_values
from environments_app.authorization.credential_custody import NARROWS
from environments_app.authorization.policy import Principal, require, require_confirmed
from environments_app.authorization.rows import isoformat, set_fields
from environments_app.environments.memberships import acting_user
from environments_app.errors import Conflict, InvalidField, Invisible, KeysUnavailable, NameInUse
from environments_app.models import Environment, Trust
from environments_app.sessions.service import lock_actor, lock_row
from environments_app.tokens.service import Lifetime, allowed_expiry
from environments_app.trusts.definition import FIELDS, clean, defaults_of, ends_tokens, narrows, source_of
from environments_app.trusts.key_source import COOL_DOWN_SECONDS, fetch_keys
from environments_app.trusts.sign_in import valid_tokens

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
        return ", ".join(f"{claim} = {pattern}" for claim, pattern in sorted(value.items()))
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M UTC")
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "Any"
    return "Never" if value is None else str(value)


_TAKEN: Final = "Another trust has this name. Workloads sign in by it, in any environment."
_MEANWHILE: Final = "This trust has changed. Reload the page and try again."
_CHANGEABLE: Final = (*FIELDS, "expires_at", "enabled")


def create(
    *,
    actor: Principal,
    environment: Environment,
    preset: str,
    expires_at: datetime | Lifetime | None = Lifetime.DEFAULT,
    **fields: Any,
) -> Trust:
    """Create a trust; what is left out is as its preset has it, and its end as that of a service token.

    An administrator who gives access to values thereby performs a break-glass act. Raises Invisible,
    Forbidden, ConfirmationNeeded, Suspended, InvalidField, BadName, NameInUse, or ApprovalNeeded.
    """
    require(actor=actor, action=Action.TRUST_CREATE, environment=environment)
    require_confirmed(actor)
    for name in fields.keys() - set(FIELDS):
        raise InvalidField(name, "A trust has no such field.")
    values = defaults_of(preset) | fields
    trust = Trust(
        environment=environment,
        created_by=acting_user(actor),
        expires_at=allowed_expiry(expires_at),
        **values,
    )
    clean(trust)
    confirm_grant(actor, Action.TRUST_CREATE, environment=environment, role=trust.role)
    _require_free(actor, trust)
    lasting = "default" if expires_at is Lifetime.DEFAULT else isoformat(trust.expires_at)
    approval = require_approval(actor=actor, proposal=creating_trust(trust, lasting=lasting))
    try:
        with lock_actor(actor, Action.TRUST_CREATE, environment):
            approved = approval.consume(environment, actor=actor)
            trust.save(force_insert=True)
            record_trust(actor, Action.TRUST_CREATE, trust, approved)
    except IntegrityError as error:
        raise NameInUse(_TAKEN) from error
    return trust


def change(*, actor: Principal, trust: Trust, **changes: Any) -> Trust:
    """Change a trust and return it as stored; `enabled` turns it off and on.

    What narrows who signs in or what for ends the tokens that were issued before; what only widens it does
    not. Raises as `create` does; Tampered; and ApprovalNeeded only if the change widens access to a
    protected environment.
    """
    environment = trust.environment
    require(actor=actor, action=Action.TRUST_CHANGE, environment=environment)
    for name in changes.keys() - set(_CHANGEABLE):
        raise InvalidField(name, "This field can't be changed.")
    new_values = _wanted(trust, changes)
    if not narrows(trust, new_values):
        require_confirmed(actor)
        confirm_grant(
            actor, Action.TRUST_CHANGE, environment=environment, role=new_values.get("role", trust.role)
        )
    approval = _cleared(actor, trust, changes, new_values)
    try:
        with lock_row(actor, trust, Action.TRUST_CHANGE, environment) as stored:
            # As it is stored: it may have been protected since the trust was loaded.
            guarded = approval is None and needs_second_person(actor, stored.environment)
            if guarded and not narrows(stored, new_values):
                raise Conflict(_MEANWHILE)
            approval_details = (
                approval.consume(environment, actor=actor, state=state_digest(stored)) if approval else {}
            )
            _store(
                actor,
                stored,
                new_values,
                {**approval_details, **({NARROWS: True} if narrows(stored, new_values) else {})},
            )
    except IntegrityError as error:
        raise NameInUse(_TAKEN) from error
    return stored


def ended_by(trust: Trust, changes: Mapping[str, Any]) -> int:
    """Return how many valid tokens a change would end. Raises InvalidField or BadName as `change` does."""
    return valid_tokens(trust).count() if ends_tokens(trust, _wanted(trust, dict(changes))) else 0


def fetch_keys_now(*, actor: Principal, trust: Trust) -> Trust:
    """Fetch the keys of a trust's issuer, and let no process use those of before; return it as stored.

    A key that the issuer has removed is accepted no longer; none, if it serves none. If the issuer does not
    answer, all stays as it is. Raises Invisible, Forbidden or Tampered; KeysUnavailable, also for a second
    time within a minute, whoever asks.
    """
    require(actor=actor, action=Action.TRUST_CHANGE, environment=trust.environment)
    if not trust.jwks and not cache.add(
        f"environments_app.trust-keys.{trust.uuid}", 1, timeout=COOL_DOWN_SECONDS
    ):
        raise KeysUnavailable(
            "The issuer of this trust was asked within the last minute. Try again in a minute.",
            COOL_DOWN_SECONDS,
        )
    # Before the transaction: it uses the network.
    fetch_keys(source_of(trust), allows_none=True)
    with lock_row(actor, trust, Action.TRUST_CHANGE, trust.environment) as stored:
        stored.keys_from = timezone.now()
        stored.save(update_fields=["keys_from"])
        record_trust(actor, Action.TRUST_CHANGE, stored, {NARROWS: True})
    return stored


def delete(*, actor: Principal, trust: Trust) -> None:
    """Delete a trust, also a forged one; tokens that it issued open nothing from then on.

    Raises Invisible or Forbidden.
    """
    require(actor=actor, action=Action.TRUST_DELETE, environment=trust.environment)
    with lock_actor(actor, Action.TRUST_DELETE, trust.environment):
        stored = Trust.objects.select_for_update().select_related("environment").filter(pk=trust.pk).first()
        if stored is None:
            return
        record_trust(actor, Action.TRUST_DELETE, stored)
        stored.delete()


def find_trust(*, actor: Principal, environment: Environment, id: int) -> Trust:
    """Return a trust of an environment, genuine or not.

    Raises Forbidden, or Invisible if there is none of this id.
    """
    require(actor=actor, action=Action.TRUST_VIEW, environment=environment)
    rows = Trust.objects.select_related("environment", "created_by")
    trust = rows.filter(pk=id, environment=environment).first()
    if trust is None:
        raise Invisible("There is no such trust.")
    return trust


def record_trust(
    actor: Principal, action: Action, trust: Trust, approved: dict[str, Json] | None = None
) -> None:
    """Record a change of a trust, in its transaction; one that breaks the glass alerts."""
    is_gone = action is Action.TRUST_DELETE
    draft = EventDraft(
        actor=actor,
        action=action,
        stream=environment_stream(trust.environment.uuid),
        object=AuditObject("trust", trust.uuid, trust.name),
        details={**_facts(trust), **(approved or {}), **row_digest_entry(trust, gone=is_gone)},
    )
    breaks_glass = not is_gone and opens_values(
        actor, action, environment_id=trust.environment_id, role=trust.role
    )
    record_breaking(draft, breaks_glass=breaks_glass, places=[trust.environment])


def _facts(trust: Trust) -> dict[str, Json]:
    elsewhere = {"name", "jwks", "jwks_url"}
    return {
        **{name: getattr(trust, name) for name in FIELDS if name not in elsewhere},
        "environment": trust.environment.name,
        "keys": "pasted" if trust.jwks else trust.jwks_url or "discovered",
        "claims": dict(trust.demands),
        "pinned": trust.pinned,
        "cidrs": [*trust.networks],
        "expires_at": isoformat(trust.expires_at),
        "disabled_at": isoformat(trust.disabled_at),
        **({"keys_from": isoformat(trust.keys_from)} if trust.keys_from else {}),
    }


def _require_free(actor: Principal, trust: Trust) -> None:
    """Raise NameInUse before requesting an approval of an act that could not be executed."""
    # The approved act is compared with the approval first.
    if actor.approval is None and Trust.objects.filter(name=trust.name).exclude(pk=trust.pk).exists():
        raise NameInUse(_TAKEN)


def _wanted(trust: Trust, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that changes set, in their one spelling."""
    after = copy.copy(trust)
    for name in changes.keys() & set(FIELDS):
        setattr(after, name, changes[name])
    clean(after)
    values: dict[str, Any] = {name: getattr(after, name) for name in FIELDS if name in changes}
    if "expires_at" in changes:
        values["expires_at"] = allowed_expiry(changes["expires_at"])
    if "enabled" in changes and changes["enabled"] is not (trust.disabled_at is None):
        values["disabled_at"] = None if changes["enabled"] else timezone.now()
    return values


def _cleared(
    actor: Principal, trust: Trust, changes: dict[str, Any], new_values: dict[str, Any]
) -> ApprovalGrant | None:
    """Return the approval of a change that widens access, None for one that needs none."""
    if not needs_second_person(actor, trust.environment) or narrows(trust, new_values):
        return None
    proposed = {name: value for name, value in new_values.items() if name != "disabled_at"}
    if "enabled" in changes:
        proposed["enabled"] = changes["enabled"]
    return require_approval(actor=actor, proposal=changing_trust(trust, proposed))


def _store(actor: Principal, stored: Trust, new_values: dict[str, Any], approved: dict[str, Json]) -> None:
    ends = ends_tokens(stored, new_values)
    changed = set_fields(stored, new_values)
    if not changed:
        return
    if {"claims", "issuer", "preset"}.intersection(changed):
        stored.pinned = ""
    if ends:
        stored.valid_from = timezone.now()
    stored.save(update_fields=[*changed, "pinned", "valid_from"])
    record_trust(actor, Action.TRUST_CHANGE, stored, approved)
