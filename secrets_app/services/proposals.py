"""Approvals of changes to secrets of a protected environment."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import uuid5

from audit_app.events.actions import Action
from audit_app.recording.drafts import AuditObject
from core.canonical_json import Json
from environments_app.approvals.gate import Line, Proposal
from environments_app.authorization.policy import Principal
from environments_app.models import Approval, Environment
from secrets_app.keys.data_keys import active_key
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import PendingValue, Secret
from secrets_app.queries.lookup import require_authentic, require_not_deleted, require_on
from secrets_app.rows.references import Place
from secrets_app.rows.store import check_etag
from secrets_app.types.registry import SecretType
from secrets_app.values.metadata import Metadata

MASKED: Final = "••••••••"
_LISTED: Final = 50
_UNPROTECTED: Final = " (unprotected environment: its value, and what is delivered, changes without approval)"

# What stored requests call a field: it was renamed after they were digested.
STORED_NAMES: Final = {"uses_references": "resolves_references"}


def creating(
    secret: Secret, *, value: str, comment: str, metadata: Metadata, places: Sequence[Place] = ()
) -> Proposal:
    """Return the proposal to create a secret that is checked and not stored."""
    return Proposal(
        action=Action.SECRET_CREATE,
        environment=secret.environment,
        object=_new(secret.environment, secret.name),
        content={"value": value},
        arguments={
            **_described(secret.name, SecretType(secret.secret_type), comment, metadata),
            **({"decoy": True} if secret.decoy else {}),
        },
        summary=[
            Line("Name", "", secret.name),
            *([Line("Uses", "", "each raises an alert: it is a decoy")] if secret.decoy else []),
            Line("Type", "", secret.get_secret_type_display()),
            Line("Value", "", MASKED),
            *_metadata_lines({}, _settled(secret, metadata)),
            *_reference_lines(places),
        ],
        keep=_keeping([value], secret.environment),
        reason=comment,
    )


def updating(
    secret: Secret,
    *,
    before: Mapping[str, Any],
    value: str | None,
    secret_type: SecretType | None,
    comment: str,
    metadata: Metadata,
    places: Sequence[Place] = (),
    origin: str = "",
    anew: bool = False,
) -> Proposal:
    """Return the proposal to change a secret; `before` is the result of `known` for the stored secret.

    `places` are what its value refers to, `origin` the secret whose value it takes. `anew` is that of
    `write.update`.
    """
    lines = [Line("Value", f"{MASKED} v{secret.current_number}", f"{MASKED} new")] if value else []
    if origin:
        lines.append(Line("Value copied from", "", origin))
    if value and not secret.live:
        lines.append(Line("Secret", "deleted", "restored"))
    if secret_type and secret_type != before["secret_type"]:
        lines.append(Line("Type", str(before["secret_type"]), str(secret_type)))
    return Proposal(
        action=Action.SECRET_UPDATE,
        environment=secret.environment,
        object=secret.audit_object,
        expected=secret.state,
        content={"value": value},
        arguments={
            "secret": secret.pk,
            "with_value": value is not None,
            "secret_type": str(secret_type) if secret_type else None,
            "comment": comment,
            "metadata": _stored(metadata),
            **({"anew": True} if anew else {}),
        },
        summary=[
            *lines,
            *_metadata_lines(before, _settled(secret, metadata)),
            *_reference_lines(places),
        ],
        keep=_keeping([value], secret.environment) if value is not None else None,
        reason=comment,
    )


def acting(
    action: Action,
    secret: Secret,
    *,
    environment: Environment | None = None,
    object: AuditObject | None = None,
    summary: Sequence[Line] = (),
    arguments: Mapping[str, Json],
) -> Proposal:
    """Return the proposal of an act on one secret that needs no new value.

    `environment` is where it writes, if that is not the secret's own; `object` is the secret as those who
    decide there may know it.
    """
    return Proposal(
        action=action,
        environment=environment or secret.environment,
        object=object or secret.audit_object,
        expected=secret.state,
        arguments={"secret": secret.pk, **arguments},
        summary=summary,
    )


def creating_many(
    environment: Environment, items: Sequence[tuple[str, SecretType, str, str, Metadata]]
) -> Proposal:
    """Return the proposal to create many secrets of one environment: name, type, value, comment, metadata."""
    names = [item[0] for item in items]
    listed = [Line(name, "", MASKED) for name in names[:_LISTED]]
    rest = len(names) - len(listed)
    return Proposal(
        action=Action.SECRET_IMPORT,
        environment=environment,
        object=_new(environment, f"{len(names)} secrets"),
        content={"values": [item[2] for item in items]},
        arguments={
            "items": [_described(name, kind, comment, metadata) for name, kind, _, comment, metadata in items]
        },
        summary=[*listed, *([Line(f"and {rest} more", "", MASKED)] if rest else [])],
        keep=_keeping([item[2] for item in items], environment),
    )


def known(secret: Secret) -> dict[str, Any]:
    """Return what may be shown of a secret before it is changed in memory."""
    names = (
        "secret_type", "description", "tags", "owner", "expires_at", "custom_metadata", "cas_required",
        "max_versions", "metadata_version", "delete_version_after",
    )  # fmt: skip
    return {name: getattr(secret, name) for name in names}


def _keeping(values: Sequence[str], environment: Environment) -> Callable[[Approval], list[PendingValue]]:
    """Return what seals values for a request; it may call KMS, and runs before the transaction."""

    def seal(approval: Approval) -> list[PendingValue]:
        data_key = active_key(environment)
        rows = []
        for index, value in enumerate(values):
            row = PendingValue(
                approval=approval, environment=environment, index=index, data_key_id=data_key.id
            )
            row.value = Sealed.of(value.encode(), data_key=data_key, context=row.sealing_context())
            rows.append(row)
        return rows

    return seal


def _new(environment: Environment, name: str) -> AuditObject:
    # There is no row yet; equal requests must be about the same thing all the same.
    return AuditObject("secret", uuid5(environment.uuid, f"new secret {name}"), name)


def _described(name: str, secret_type: SecretType, comment: str, metadata: Metadata) -> dict[str, Json]:
    return {
        "name": name,
        "secret_type": str(secret_type),
        "comment": comment,
        "metadata": _stored(metadata),
    }


def _stored(metadata: Metadata) -> dict[str, Json]:
    """Return metadata by the names that requests are stored and digested with."""
    return {STORED_NAMES.get(name, name): value for name, value in _plain(metadata).items()}


def _plain(metadata: Metadata) -> dict[str, Json]:
    plain: dict[str, Json] = {}
    for name, value in metadata.items():
        if isinstance(value, datetime):
            plain[name] = value.isoformat()
        elif isinstance(value, str | int) or value is None:
            plain[name] = value
        elif isinstance(value, dict):
            plain[name] = {str(key): str(text) for key, text in value.items()}
        else:
            plain[name] = [str(item) for item in value]  # type: ignore[attr-defined]  # the tags, a list
    return plain


def _settled(secret: Secret, metadata: Metadata) -> Metadata:
    """Return the metadata with the expiry that the secret will have, also if its value brings it along."""
    return {**metadata, "expires_at": secret.expires_at}


def _metadata_lines(before: Mapping[str, Any], metadata: Metadata) -> list[Line]:
    lines = []
    for name, value in _plain(metadata).items():
        old = _plain({name: before[name]})[name] if name in before else ""  # type: ignore[misc]  # a TypedDict has no keys that are computed
        if old != value and (old or value):
            lines.append(Line(name.replace("_", " ").capitalize(), _text(old), _text(value)))
    return lines


def _reference_lines(places: Sequence[Place]) -> list[Line]:
    """Return what a value refers to, and where a change of that needs no approval."""
    names = {place.environment for place in places}
    protected = set(Environment.objects.filter(name__in=names, protected=True).values_list("name", flat=True))
    return [
        Line("Refers to", "", f"{environment}/{name}{'' if environment in protected else _UNPROTECTED}")
        for environment, name in places
    ]


def _text(value: Json) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {text}" for name, text in value.items())
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value or "")


def require_change(actor: Principal, action: Action, secret: Secret, expected: str | None) -> None:
    """Require what a mark of a secret takes: the right, a genuine living row, the state that was seen."""
    require_on(actor=actor, action=action, secret=secret)
    require_not_deleted(secret)
    require_authentic(secret)
    check_etag(secret, expected)
