"""The forms of trusts; the rules are in the use cases."""

from typing import Any, Final

from django import forms

from environments_app.forms.environment import TokenForm
from environments_app.models import Trust, TrustAlgorithm, TrustRole
from environments_app.tokens.service import Lifetime
from environments_app.trusts.definition import LIFETIME_MINUTES, MAX_AGE_MINUTES, MAX_PASTED, defaults_of
from environments_app.trusts.jwt.document import MAX_BYTES
from environments_app.trusts.jwt.rules import MAX_VALUE
from environments_app.trusts.presets import PRESETS

# In the order of the form.
_COPIED: Final = (
    "name", "issuer", "jwks_url", "jwks", "audience", "algorithm", "role", "prefix", "lifetime_minutes",
    "max_age_minutes", "single_use", "allows_pull_request_target",
)  # fmt: skip


class TrustForm(TokenForm):
    mark = "trust"

    name = forms.CharField(
        max_length=100, help_text="Workloads sign in by this name. Lowercase letters, numbers, . - and _."
    )
    issuer = forms.CharField(max_length=500, help_text="Exactly as in the token's iss claim.")
    claims = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="One per line: claim = value. A * stands for any characters but / and :.",
    )
    audience = forms.CharField(max_length=500, help_text="The token's aud claim must be exactly this.")
    role = forms.ChoiceField(choices=TrustRole.choices, initial=TrustRole.READER)
    lifetime_minutes = forms.IntegerField(
        label="Token valid for (minutes)",
        min_value=LIFETIME_MINUTES[0],
        max_value=LIFETIME_MINUTES[1],
        initial=15,
    )
    jwks_url = forms.CharField(
        label="Address of the keys",
        required=False,
        max_length=500,
        help_text="Leave blank to use the issuer's discovery document.",
    )
    jwks = forms.CharField(
        label="Keys",
        required=False,
        max_length=MAX_PASTED,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="The issuer's public keys (JWKS), if Keeper can't reach it.",
    )
    algorithm = forms.ChoiceField(choices=TrustAlgorithm.choices)
    max_age_minutes = forms.IntegerField(
        label="Accept tokens issued within (minutes)",
        min_value=MAX_AGE_MINUTES[0],
        max_value=MAX_AGE_MINUTES[1],
    )
    single_use = forms.BooleanField(label="Accept each token once", required=False)
    decoy = None  # type: ignore[assignment]  # Django's way to drop an inherited field
    allows_pull_request_target = forms.BooleanField(label="Allow pull_request_target", required=False)

    field_order = [
        "name", "claims", "role", "prefix", "issuer", "audience", "lifetime_minutes", "expires_at", "cidrs",
        "max_age_minutes", "algorithm", "single_use", "allows_pull_request_target", "jwks_url", "jwks",
    ]  # fmt: skip

    def __init__(self, *args: Any, preset: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = PRESETS[preset]
        self._asks = {f"claim_{number}": asked for number, asked in enumerate(known.asks, 1)}
        # Shown and not entered: saved as it is, it would trust a repository of others.
        self.fields["claims"].widget.attrs["placeholder"] = _lines(dict(known.example))
        if known.issuer_example:
            self.fields["issuer"].help_text = known.issuer_example
        if "event_name" not in known.refused:
            del self.fields["allows_pull_request_target"]
        if self._asks:
            self._ask_by_labels()

    def _ask_by_labels(self) -> None:
        """Ask for the claims of the platform by their labels; the lines hold the others."""
        lines = str(self.initial.get("claims", "")).splitlines()
        rest = {name: value for name, _, value in (line.partition(" = ") for line in lines)}
        for name, asked in self._asks.items():
            text = rest.get(asked.claim, "")
            if text.startswith(asked.before):
                self.initial[name] = rest.pop(asked.claim, "").removeprefix(asked.before)
            self.fields[name] = forms.CharField(
                label=asked.label, required=False, max_length=MAX_VALUE, help_text=asked.help
            )
        if lines:
            self.initial["claims"] = _lines(rest)
        self.fields["claims"].label, self.fields["claims"].required = "Other claims", False
        self.order_fields(["name", *self._asks, *(name for name in self.fields if name not in self._asks)])

    def clean(self) -> dict[str, Any]:
        """Add the claims that were asked for by their labels to those of the lines."""
        fields: dict[str, Any] = super().clean() or self.cleaned_data
        claims = dict(fields.get("claims") or {})
        for name, asked in self._asks.items():
            value = (fields.pop(name, "") or "").strip()
            if value and asked.claim in claims:
                self.add_error("claims", f"{asked.claim} is asked for above: {asked.label}.")
            elif value:
                claims[asked.claim] = value if _is_whole(value, asked.before) else asked.before + value
        if "claims" in fields:
            fields["claims"] = claims
        return fields

    def clean_claims(self) -> dict[str, str]:
        """Read the lines. Raises ValidationError for one without "=" or a claim named twice."""
        claims: dict[str, str] = {}
        for line in filter(None, map(str.strip, self.cleaned_data["claims"].splitlines())):
            name, equals, value = (part.strip() for part in line.partition("="))
            if not equals or name in claims:
                raise forms.ValidationError("Enter each claim once, as: claim = value.")
            claims[name] = value
        return claims

    @staticmethod
    def initial_of_preset(preset: str) -> dict[str, Any]:
        return defaults_of(preset)

    @staticmethod
    def initial_of(trust: Trust) -> dict[str, Any]:
        return {
            **{name: getattr(trust, name) for name in _COPIED},
            "claims": _lines(dict(trust.demands)),
            "cidrs": ", ".join(trust.networks),
            "expires_at": trust.expires_at,
        }

    def changes(self) -> dict[str, Any]:
        """Return what differs from what the form began with; a blank expiry is kept as it is."""
        changed = {"claims" if name in self._asks else name for name in self.changed_data}
        fields = {name: self.cleaned_data[name] for name in changed if name in self.cleaned_data}
        if fields.get("expires_at") is Lifetime.DEFAULT:
            del fields["expires_at"]
        return fields


class TrialForm(forms.Form):
    jwt = forms.CharField(
        label="Token",
        max_length=MAX_BYTES,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "autocomplete": "off"}),
        help_text="A token of the platform. It is checked and not stored, and signs nobody in.",
    )


def _is_whole(value: str, before: str) -> bool:
    """Return whether a value begins as the claim does: refs/heads/main, or a tag in place of a branch."""
    return value.startswith(before) or (before == "refs/heads/" and value.startswith("refs/"))


def _lines(claims: dict[str, str]) -> str:
    return "\n".join(f"{name} = {value}" for name, value in sorted(claims.items()))
