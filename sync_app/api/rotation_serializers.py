"""The documents of the rotation's API: what is sent and what is answered; no credential is ever answered."""

from typing import Any

from rest_framework import serializers

from environments_app.api.fields import StrictSerializer, Text, Truth, WholeNumber
from secrets_app.models import MAX_NAME_LENGTH
from sync_app.api.target_serializers import GovernedDocument, Texts
from sync_app.domain.cadence import MAX_SECONDS
from sync_app.models import Acknowledgement, Rotation, RotationPolicy
from sync_app.rotation.policies.rules import CHANGEABLE
from sync_app.rotators.registry import ROTATORS

_MAX_REASON = 200
_MAX_VERSION = 2**31 - 1


class RotationRules(StrictSerializer):
    """The rules of a policy; what is left out is kept, or has its default."""

    interval_seconds = WholeNumber(
        min_value=0, max_value=MAX_SECONDS, required=False, help_text="0: by a cron line, or by hand only."
    )
    cron = Text(max_length=100, required=False, allow_blank=True, help_text="Five fields: 0 3 * * sun.")
    window = Text(
        max_length=64, required=False, allow_blank=True, help_text="When to begin: mon-fri 01:00-05:00."
    )
    time_zone = Text(max_length=64, required=False, help_text="For the cron schedule and maintenance window.")
    grace_seconds = WholeNumber(
        min_value=0, max_value=MAX_SECONDS, required=False, help_text="How long the previous value works."
    )
    waits_for_consumers = Truth(
        required=False, help_text="Wait for all consumers to confirm before retiring."
    )


class NewPolicy(RotationRules):
    """What a policy is made from; the present value has to log in, and nothing is changed yet."""

    secret = Text(max_length=MAX_NAME_LENGTH, help_text="The secret's name.")
    rotator = serializers.ChoiceField(choices=list(ROTATORS))
    settings = Texts(required=False, default=dict, help_text="The rotator's settings.")
    credentials = Texts(
        write_only=True,
        required=False,
        default=dict,
        help_text="The administrator's; sealed, never answered.",
    )


class NewConnection(StrictSerializer):
    """A new credential of the administrator, and the settings that change along with it."""

    credentials = Texts(write_only=True)
    settings = Texts(required=False)


class RotationRequest(StrictSerializer):
    """Why a rotation is asked for."""

    reason = Text(max_length=_MAX_REASON, required=False, allow_blank=True)
    emergency = Truth(required=False, help_text="At once, and without a grace: needs the right to cut it.")


class AcknowledgementRequest(StrictSerializer):
    """Which version a consumer uses by now."""

    version = WholeNumber(min_value=1, max_value=_MAX_VERSION)
    instance = Text(max_length=100, required=False, allow_blank=True, help_text="Which of several processes.")


class PolicyDocument(GovernedDocument):
    """A policy as it is answered."""

    secret = serializers.CharField(source="secret.name", read_only=True)
    secret_uuid = serializers.UUIDField(source="secret_id", read_only=True)

    class Meta:
        model = RotationPolicy
        fields = [
            "id", "uuid", "environment", "secret", "secret_uuid", "rotator", "settings", "endpoint",
            *CHANGEABLE, "suspended_at", "due_at", "last_rotated_at", "created_at", "updated_at", "verified",
        ]  # fmt: skip
        read_only_fields = fields


class LoginDifferenceDocument(serializers.Serializer[Any]):
    """One difference between two logins."""

    what = serializers.CharField(read_only=True, help_text="The difference, in words.")
    sql = serializers.CharField(read_only=True, help_text="What makes them alike; empty: see `todo`.")
    database = serializers.CharField(read_only=True, help_text="Where to run it; empty: anywhere.")
    todo = serializers.CharField(read_only=True, help_text="What a person does, where there is no statement.")
    refused = serializers.CharField(
        read_only=True, help_text="Why Keeper's administrator may not run the statement; empty: it may."
    )


class LoginComparisonDocument(serializers.Serializer[Any]):
    """In what the idle login differs from the one that is served."""

    login = serializers.CharField(read_only=True, help_text="The idle login.")
    digest = serializers.CharField(read_only=True, help_text="Of these differences, for `align-logins`.")
    differences = LoginDifferenceDocument(many=True, read_only=True)
    not_compared = serializers.CharField(
        read_only=True, help_text="What may differ unseen, for want of a right; empty: nothing known."
    )


class AlignRequest(StrictSerializer):
    """Which comparison is to be carried out."""

    expected = Text(max_length=64, help_text="The `digest` of the comparison.")


class NewPolicyDocument(PolicyDocument):
    """A policy that was just created, with what a rotation would stop at."""

    differences = LoginDifferenceDocument(many=True, read_only=True)

    class Meta(PolicyDocument.Meta):
        fields = [*PolicyDocument.Meta.fields, "differences"]
        read_only_fields = fields


class RotationDocument(serializers.ModelSerializer[Rotation]):
    """A rotation, how far it has come, and what may be done about it."""

    policy: serializers.PrimaryKeyRelatedField[Any] = serializers.PrimaryKeyRelatedField(read_only=True)
    secret = serializers.CharField(source="policy.secret.name", read_only=True)
    step = serializers.CharField(read_only=True)
    trigger = serializers.CharField(read_only=True)
    acts = serializers.SerializerMethodField(help_text="What an operator may do now.")
    left_valid = serializers.SerializerMethodField(
        help_text="It was given up and left this version's login valid: the next rotation ends it, or retire."
    )
    seconds = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="From its first act to its end, the grace included."
    )
    seconds_to_serve = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="From its first act until the new value was served."
    )

    class Meta:
        model = Rotation
        fields = [
            "id", "uuid", "policy", "secret", "step", "trigger", "emergency", "reverted", "actor_name",
            "reason", "from_number", "to_number", "login", "attempts", "not_before", "problem", "stopped_at",
            "grace_until", "queued_at", "started_at", "promoted_at", "finished_at", "seconds",
            "seconds_to_serve", "left_valid", "acts",
        ]  # fmt: skip
        read_only_fields = fields

    def get_left_valid(self, rotation: Rotation) -> int | None:
        return rotation.left_number if rotation.leaves else None

    def get_acts(self, rotation: Rotation) -> list[str]:
        return sorted(rotation.allowed_actions)


class FindingDocument(serializers.Serializer[Any]):
    """One thing that a dry run looked at."""

    what = serializers.CharField(read_only=True)
    detail = serializers.CharField(read_only=True)
    fails = serializers.BooleanField(read_only=True)


class DryRunReport(serializers.Serializer[Any]):
    """What a dry run found; nothing was changed."""

    ok = serializers.BooleanField(read_only=True)
    due_at = serializers.DateTimeField(read_only=True, allow_null=True)
    findings = FindingDocument(many=True, read_only=True)


class AcknowledgementDocument(serializers.ModelSerializer[Acknowledgement]):
    """A consumer's last confirmation."""

    version = serializers.IntegerField(source="number", read_only=True)

    class Meta:
        model = Acknowledgement
        fields = ["id", "consumer_name", "instance", "version", "acknowledged_at"]
        read_only_fields = fields
