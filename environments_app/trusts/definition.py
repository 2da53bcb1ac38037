"""What a trust may hold: its fields in their one spelling, or why they are refused."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.conf import settings

from core.errors import BadEndpoint
from core.network.client_address import are_within
from environments_app.authorization.policy import Grant
from environments_app.authorization.rows import clean_fields
from environments_app.errors import InvalidField
from environments_app.models import Trust
from environments_app.names import refuse_reserved, validate_prefix
from environments_app.tokens.service import normalize_cidrs
from environments_app.trusts.jwt.document import BadJson, BadKeySet, read_key_set, read_object
from environments_app.trusts.jwt.rules import (
    BadPattern,
    TrustRules,
    is_exact,
    require_claim_name,
    require_pattern,
)
from environments_app.trusts.key_source import KeySource, require_key_url
from environments_app.trusts.presets import PRESETS, Preset

LIFETIME_MINUTES: Final = (15, 60)
MAX_AGE_MINUTES: Final = (1, 24 * 60)
MAX_CLAIMS: Final = 20
# Pasted keys are kept with an approval as well.
MAX_PASTED: Final = 32 * 1024
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
# Judged by fields of their own.
_RESERVED_CLAIMS: Final = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti"})
# What a manager may set; `enabled` and `expires_at` have rules of their own.
FIELDS: Final = (
    "name", "preset", "issuer", "jwks_url", "jwks", "audience", "algorithm", "claims", "role", "prefix",
    "cidrs", "lifetime_minutes", "max_age_minutes", "single_use", "allows_pull_request_target",
)  # fmt: skip
# What decides who signs in and what for; a token from before a trust was disabled stays ended.
_DECIDING: Final = {*FIELDS, "disabled_at"} - {"name", "lifetime_minutes"}


def preset_of(trust: Trust) -> Preset:
    """Return what is known of a trust's platform; of a forged row's, that of any issuer."""
    return PRESETS.get(trust.preset, PRESETS["oidc"])


def defaults_of(preset: str) -> dict[str, Any]:
    """Return what a new trust of a preset has where nothing is given. Raises InvalidField."""
    if preset not in PRESETS:
        raise InvalidField("preset", f"Choose one of {', '.join(PRESETS)}.")
    defaults = PRESETS[preset]
    return {
        "preset": preset,
        "issuer": defaults.issuer,
        "algorithm": defaults.algorithm,
        "audience": settings.KEEPER_URL,
        "max_age_minutes": defaults.max_age_minutes,
        "single_use": defaults.single_use,
    }


def clean(trust: Trust) -> None:
    """Bring the fields of a trust into their one spelling. Raises InvalidField or BadName."""
    if not _NAME.fullmatch(trust.name):
        raise InvalidField("name", "Use lowercase letters, digits, dots, hyphens and underscores.")
    refuse_reserved(trust.name, field="name")
    defaults_of(trust.preset)
    for field in ("issuer", "audience"):
        _require_word(field, getattr(trust, field))
    _clean_keys(trust)
    _require_claims(trust)
    trust.prefix = validate_prefix(trust.prefix)
    trust.cidrs = normalize_cidrs(trust.cidrs)
    for field, (least, most) in (
        ("lifetime_minutes", LIFETIME_MINUTES),
        ("max_age_minutes", MAX_AGE_MINUTES),
    ):
        if not least <= getattr(trust, field) <= most:
            raise InvalidField(field, f"Enter {least} to {most} minutes.")
    clean_fields(trust, ["algorithm", "role", "issuer", "audience", "jwks_url"])


def rules_of(trust: Trust) -> TrustRules:
    """Return what a trust demands of a JWT."""
    preset = preset_of(trust)
    claims = dict(trust.claims)
    if preset.pinned and trust.pinned:
        claims.setdefault(preset.pinned, trust.pinned)
    for name, (beside, value) in preset.implied.items():
        if name in claims:
            claims[beside] = value
    refused = dict(preset.refused)
    if trust.allows_pull_request_target:
        refused.pop("event_name", None)
    return TrustRules(
        issuer=trust.issuer,
        audience=trust.audience,
        algorithm=trust.algorithm,
        claims=claims,
        max_age_seconds=trust.max_age_minutes * 60,
        single_use=trust.single_use,
        lists_audiences=preset.lists_audiences,
        refused=refused,
    )


def source_of(trust: Trust) -> KeySource:
    """Return where the keys of a trust's issuer are."""
    return KeySource(trust.issuer, trust.jwks_url, trust.jwks, trust.keys_from)


def patterns_of(trust: Trust) -> list[str]:
    """Return the claims of a trust that have a pattern: more than one value fits."""
    return [name for name, value in trust.demands if not is_exact(value)]


def narrows(trust: Trust, changes: Mapping[str, Any]) -> bool:
    """Return whether changes add no workload and no right."""
    return all(
        name in _NARROWER and _NARROWER[name](getattr(trust, name), value)
        for name, value in changes.items()
        if getattr(trust, name) != value
    )


def ends_tokens(trust: Trust, changes: Mapping[str, Any]) -> bool:
    """Return whether changes of a stored trust end the tokens that were issued before.

    Not where they only widen: who has such a token could get another one at once.
    """
    return any(
        name in _DECIDING and not (name in _WIDER and _WIDER[name](getattr(trust, name), value))
        for name, value in changes.items()
        if getattr(trust, name) != value
    )


def _clean_keys(trust: Trust) -> None:
    if trust.jwks and trust.jwks_url:
        raise InvalidField("jwks", "Enter the address of the keys or the keys, not both.")
    try:
        if trust.jwks:
            if len(trust.jwks) > MAX_PASTED:
                raise InvalidField("jwks", f"Paste at most {MAX_PASTED // 1024} KiB of keys.")
            read_key_set(trust.jwks, pasted=True)
        elif trust.jwks_url:
            trust.jwks_url = require_key_url(trust.jwks_url)
    except (BadKeySet, BadEndpoint) as error:
        raise InvalidField("jwks" if trust.jwks else "jwks_url", _sentence(error)) from error
    if not trust.jwks and not trust.jwks_url:
        try:
            require_key_url(trust.issuer)
        except BadEndpoint as error:
            raise InvalidField("issuer", _sentence(error)) from error


def _require_claims(trust: Trust) -> None:
    claims, preset = trust.claims, PRESETS[trust.preset]
    if not isinstance(claims, dict) or not 1 <= len(claims) <= MAX_CLAIMS:
        raise InvalidField("claims", f"Enter 1 to {MAX_CLAIMS} claims.")
    for name, value in claims.items():
        _require_claim(preset, name, value)
    if not preset.identifies(claims):
        sets = preset.required or ((preset.identifying,) if preset.identifying else ())
        choice = " and of ".join(f"one of {', '.join(sorted(names))}" for names in sets) or "a claim"
        raise InvalidField(
            "claims", f"Enter an exact value of {choice}, so that it is clear whose token it is."
        )


def _require_claim(preset: Preset, name: str, value: Any) -> None:
    try:
        require_claim_name(name)
        if not isinstance(value, str):
            raise InvalidField("claims", "Enter text as the value of a claim.")
        require_pattern(value)
    except BadPattern as error:
        raise InvalidField("claims", str(error)) from error
    if name in _RESERVED_CLAIMS:
        raise InvalidField("claims", "The issuer, audience, times and id have fields of their own.")
    if not is_exact(value) and name not in preset.patterns:
        raise InvalidField("claims", f"Only {', '.join(sorted(preset.patterns))} may have a pattern.")


def _require_word(field: str, text: str) -> None:
    if not text:
        reason = "Enter a value." if field == "issuer" else "Enter an audience, or set KEEPER_URL."
        raise InvalidField(field, reason)
    if not text.isprintable() or " " in text:
        raise InvalidField(field, "Enter printable text without spaces.")


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _lower_role(now: str, value: str) -> bool:
    order = ["viewer", "reader", "editor"]
    return value in order and now in order and order.index(value) <= order.index(now)


def _holds_keys(now: str, value: str) -> bool:
    """Return whether pasted keys are all among those of another text."""
    try:
        before, after = (read_object(text)["keys"] for text in (now, value))
        return all(key in after for key in before)
    except (BadJson, KeyError, TypeError):
        return False


# A change of these leaves each workload in that is let in now. What a token opens is in its own row.
_WIDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "claims": lambda now, value: isinstance(now, dict) and value.items() <= now.items(),
    "cidrs": are_within,
    "prefix": lambda now, value: Grant.reaches(value, now),
    "role": lambda now, value: _lower_role(value, now),
    "jwks": lambda now, value: bool(now and value) and _holds_keys(now, value),
    "max_age_minutes": lambda now, value: value >= now,
    "single_use": lambda _now, value: not value,
    "allows_pull_request_target": lambda _now, value: bool(value),
}
_NARROWER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    # The name alone lets no workload in.
    "name": lambda _now, _value: True,
    "claims": lambda now, value: isinstance(now, dict) and now.items() <= value.items(),
    "cidrs": lambda now, value: are_within(value, now),
    "prefix": Grant.reaches,
    "role": _lower_role,
    "lifetime_minutes": lambda now, value: value <= now,
    "max_age_minutes": lambda now, value: value <= now,
    "single_use": lambda _now, value: bool(value),
    "allows_pull_request_target": lambda _now, value: not value,
    "expires_at": lambda now, value: value is not None and (now is None or value <= now),
    "disabled_at": lambda _now, value: value is not None,
}
