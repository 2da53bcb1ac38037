"""The documents of trusts and of the sign-in of workloads."""

from typing import Any

from rest_framework import serializers

from environments_app.api.fields import Moment, StrictSerializer, Text, Truth, WholeNumber, by_name
from environments_app.models import Trust, TrustAlgorithm, TrustPreset, TrustRole
from environments_app.names import MAX_PREFIX
from environments_app.trusts.definition import LIFETIME_MINUTES, MAX_AGE_MINUTES, MAX_PASTED, patterns_of
from environments_app.trusts.jwt.document import MAX_BYTES
from environments_app.trusts.upkeep import trust_status


class TrustDocument(serializers.ModelSerializer[Trust]):
    """A trust as it is answered."""

    environment = by_name("name", allow_null=False)
    created_by = by_name("username")
    cidrs = serializers.ListField(source="networks", child=serializers.CharField(), read_only=True)
    claims = serializers.SerializerMethodField()
    enabled = serializers.SerializerMethodField()
    patterns = serializers.SerializerMethodField(help_text="Claims for which more than one value fits.")
    state = serializers.SerializerMethodField(
        help_text="active, unused, expiring, expired, suspended or disabled."
    )
    verified = serializers.BooleanField(
        source="is_authentic", read_only=True, help_text="False: modified outside Keeper, and lets nobody in."
    )

    class Meta:
        model = Trust
        fields = [
            "id", "uuid", "name", "environment", "preset", "issuer", "jwks_url", "jwks", "audience",
            "algorithm", "claims", "patterns", "role", "prefix", "cidrs", "lifetime_minutes",
            "max_age_minutes", "single_use", "allows_pull_request_target", "pinned", "expires_at", "enabled",
            "created_by", "created_at", "last_used_at", "last_refused_at", "last_refusal", "state",
            "verified",
        ]  # fmt: skip
        read_only_fields = fields

    def get_claims(self, trust: Trust) -> dict[str, str]:
        """Return the demanded claims."""
        return dict(trust.demands)

    def get_enabled(self, trust: Trust) -> bool:
        """Return whether it is not turned off."""
        return trust.disabled_at is None

    def get_patterns(self, trust: Trust) -> list[str]:
        return patterns_of(trust)

    def get_state(self, trust: Trust) -> str:
        return trust_status(trust)


class TrustChange(StrictSerializer):
    """What can be changed of a trust; what is left out is kept."""

    name = Text(max_length=100, required=False)
    issuer = Text(max_length=500, required=False)
    jwks_url = Text(max_length=500, required=False)
    jwks = Text(max_length=MAX_PASTED, required=False)
    audience = Text(max_length=500, required=False)
    algorithm = serializers.ChoiceField(choices=TrustAlgorithm.choices, required=False)
    claims = serializers.DictField(child=Text(max_length=1000), required=False)
    role = serializers.ChoiceField(choices=TrustRole.choices, required=False)
    prefix = Text(max_length=MAX_PREFIX, required=False)
    cidrs = serializers.ListField(child=Text(max_length=50), required=False, max_length=50)
    lifetime_minutes = WholeNumber(
        min_value=LIFETIME_MINUTES[0], max_value=LIFETIME_MINUTES[1], required=False
    )
    max_age_minutes = WholeNumber(min_value=MAX_AGE_MINUTES[0], max_value=MAX_AGE_MINUTES[1], required=False)
    single_use = Truth(required=False)
    allows_pull_request_target = Truth(required=False)
    expires_at = Moment(required=False, allow_null=True)
    enabled = Truth(required=False)


class NewTrust(TrustChange):
    """What a trust is made from; what is left out is as its preset has it."""

    name = Text(max_length=100)
    preset = serializers.ChoiceField(choices=TrustPreset.choices)
    claims = serializers.DictField(child=Text(max_length=1000))
    role = serializers.ChoiceField(choices=TrustRole.choices)
    enabled = None  # type: ignore[assignment]  # Django's way to drop an inherited field


class SampleToken(StrictSerializer):
    """A token of the platform, to be tried."""

    jwt = Text(max_length=MAX_BYTES)


class CheckDocument(serializers.Serializer[Any]):
    """A rule that the sample meets or fails."""

    rule = serializers.CharField(read_only=True)
    passed = serializers.BooleanField(read_only=True)
    expected = serializers.CharField(read_only=True)
    found = serializers.CharField(read_only=True)


class TrialDocument(serializers.Serializer[Any]):
    """What came of a trial."""

    passed = serializers.BooleanField(read_only=True)
    problem = serializers.CharField(read_only=True, help_text="Why the text is no token; empty if it is one.")
    checks = CheckDocument(many=True, read_only=True)


class WorkloadSignIn(StrictSerializer):
    """The name of a trust, and the token that the platform gave the workload."""

    trust = Text(max_length=100, required=False)
    role = Text(max_length=100, required=False, help_text="The same as `trust`.")
    jwt = Text(max_length=MAX_BYTES)

    def missing(self, data: Any) -> dict[str, list[str]]:
        """Require one of the two names."""
        return {} if {"trust", "role"} & set(data) else {"trust": ["This field is required."]}


class WorkloadToken(serializers.Serializer[Any]):
    """A service token for a workload, whose text is shown this once."""

    token = serializers.CharField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True)
    trust = serializers.CharField(read_only=True)
    environment = serializers.CharField(read_only=True)
    role = serializers.CharField(read_only=True)
    prefix = serializers.CharField(read_only=True)
