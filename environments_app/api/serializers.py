"""The documents of the access API: what is sent and what is answered."""

from datetime import datetime
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from environments_app.api.fields import Moment, StrictSerializer, Text, Truth, WholeNumber, by_name
from environments_app.authorization.policy import Principal
from environments_app.environments.deletion import purge_time
from environments_app.environments.service import CHANGEABLE
from environments_app.models import Environment, Membership, Role, ServiceToken, TokenRole
from environments_app.models.environment import (
    MAX_APPROVALS,
    MAX_GUARDED_PREFIXES,
    MAX_OFFLINE_HOURS,
    MAX_OUTSIDE_HOURS,
    Colour,
)
from environments_app.names import MAX_PREFIX
from environments_app.tokens.bearers import token_behind
from environments_app.tokens.expiry_alerts import token_status
from environments_app.tokens.rotation import DEFAULT_OVERLAP, MAX_OVERLAP

_MAX_POSITION = 2**31 - 1


class EnvironmentDocument(serializers.ModelSerializer[Environment]):
    approvals_required = serializers.IntegerField(source="approvals_needed")
    guarded_prefixes = serializers.ListField(child=serializers.CharField(), source="guarded_paths")
    emergency_reads = serializers.SerializerMethodField()

    class Meta:
        model = Environment
        fields = ["id", "uuid", "name", *CHANGEABLE, "created_at", "updated_at"]
        read_only_fields = fields

    def get_emergency_reads(self, environment: Environment) -> bool:
        return bool(environment.emergency_reads)


class SavedEnvironment(EnvironmentDocument):
    warnings = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="Sentences; empty: nothing to look at. One says if KMS could not be asked about the key.",
    )

    class Meta(EnvironmentDocument.Meta):
        fields = [*EnvironmentDocument.Meta.fields, "warnings"]
        read_only_fields = fields


class DeletedEnvironmentDocument(serializers.ModelSerializer[Environment]):
    purge_at = serializers.SerializerMethodField(
        help_text="From when on it is removed for good. Null: never."
    )

    class Meta:
        model = Environment
        fields: ClassVar[list[str]] = [
            "id",
            "uuid",
            "name",
            "display_name",
            "protected",
            "deleted_at",
            "purge_at",
        ]
        read_only_fields = fields

    def get_purge_at(self, environment: Environment) -> datetime | None:
        return purge_time(environment)


class EnvironmentChange(StrictSerializer):
    """What can be changed of an environment; what is left out is kept."""

    display_name = Text(max_length=100, required=False)
    description = Text(max_length=2000, required=False)
    colour = serializers.ChoiceField(choices=Colour.choices, required=False)
    position = WholeNumber(min_value=0, max_value=_MAX_POSITION, required=False)
    protected = Truth(required=False)
    approvals_required = WholeNumber(
        min_value=1,
        max_value=MAX_APPROVALS,
        required=False,
        help_text="How many different people must approve a change while it is protected.",
    )
    kms_key_alias = Text(
        max_length=2048,
        required=False,
        help_text="alias/..., a key id, or the ARN of either. With KMS, it has to name a usable key.",
    )
    offline_hours = WholeNumber(
        min_value=1,
        max_value=MAX_OFFLINE_HOURS,
        allow_null=True,
        required=False,
        help_text="How long a client may use its copy of values while Keeper cannot be reached; "
        "null: it keeps none.",
    )
    outside_hours = WholeNumber(
        min_value=1,
        max_value=MAX_OUTSIDE_HOURS,
        allow_null=True,
        required=False,
        help_text="How long a link may last that shows a value once to a person without an account; "
        "null: no such links. A protected environment has none.",
    )
    guarded_prefixes = serializers.ListField(
        child=Text(max_length=MAX_PREFIX),
        max_length=MAX_GUARDED_PREFIXES,
        required=False,
        help_text="Paths under which each secret is guarded: a second person agrees to each read. To take "
        "one away takes another manager's approval in any environment; the secrets stay guarded.",
    )
    emergency_reads = Truth(
        required=False,
        help_text="Whether a person may show a guarded value at once on its page, for a reason. Managers and "
        "auditors are alerted, and another person reviews the read.",
    )


class NewEnvironment(EnvironmentChange):
    """What an environment is made from."""

    name = Text(max_length=63, help_text="Lower-case letters, digits, - and _.")


class MemberDocument(serializers.ModelSerializer[Membership]):
    user = by_name("username")
    group = by_name("name")
    granted_by = by_name("username")
    verified = serializers.BooleanField(
        source="is_authentic", read_only=True, help_text="False: modified outside Keeper, and grants nothing."
    )

    class Meta:
        model = Membership
        fields = [
            "id", "uuid", "user", "group", "role", "prefix", "expires_at", "granted_by", "created_at",
            "verified",
        ]  # fmt: skip
        read_only_fields = fields


class MemberChange(StrictSerializer):
    """What can be changed of a membership; what is left out is kept."""

    role = serializers.ChoiceField(choices=Role.choices, required=False)
    prefix = Text(max_length=MAX_PREFIX, required=False)
    expires_at = Moment(required=False, allow_null=True)


class NewMember(MemberChange):
    """Whom a role is given to: either a user or a group, by name."""

    user = Text(max_length=150, required=False)
    group = Text(max_length=150, required=False)
    role = serializers.ChoiceField(choices=Role.choices)


class TokenDocument(serializers.ModelSerializer[ServiceToken]):
    """A service token as it is answered; its secret is not kept anywhere."""

    environment = by_name("name")
    created_by = by_name("username")
    cidrs = serializers.ListField(source="networks", child=serializers.CharField(), read_only=True)
    state = serializers.SerializerMethodField(
        help_text="active, decoy, unused, expiring, expired, suspended or revoked."
    )
    verified = serializers.BooleanField(
        source="is_authentic", read_only=True, help_text="False: modified outside Keeper, and opens nothing."
    )

    class Meta:
        model = ServiceToken
        fields = [
            "id", "uuid", "name", "environment", "role", "prefix", "cidrs", "public_id", "expires_at",
            "created_by", "created_at", "last_used_at", "last_used_address", "revoked_at", "replaces",
            "state", "verified",
        ]  # fmt: skip
        read_only_fields = fields

    def get_state(self, token: ServiceToken) -> str:
        return token_status(token)


class IssuedToken(TokenDocument):
    """A new service token with its text, which is shown this once."""

    token = serializers.CharField(read_only=True)

    class Meta(TokenDocument.Meta):
        fields = [*TokenDocument.Meta.fields, "token"]
        read_only_fields = fields


class NewAdminToken(StrictSerializer):
    name = Text(max_length=100)
    cidrs = serializers.ListField(child=Text(max_length=50), required=False, max_length=50)
    expires_at = Moment(required=False, allow_null=True)
    role = serializers.ChoiceField(choices=[TokenRole.ADMIN.value], default=TokenRole.ADMIN.value)


class NewToken(NewAdminToken):
    role = serializers.ChoiceField(choices=Role.choices)
    prefix = Text(max_length=MAX_PREFIX, required=False)
    decoy = Truth(required=False, help_text="It opens nothing, and each use of it raises an alert.")


class AdminTokenNarrowing(StrictSerializer):
    """What can be taken from a token that administers; what is left out is kept."""

    cidrs = serializers.ListField(child=Text(max_length=50), required=False, max_length=50)
    expires_at = Moment(required=False)


class TokenNarrowing(AdminTokenNarrowing):
    """What can be taken from a token of an environment; what is left out is kept."""

    role = serializers.ChoiceField(choices=Role.choices, required=False)
    prefix = Text(max_length=MAX_PREFIX, required=False)


class TokenRotation(StrictSerializer):
    """How long the old token stays valid beside the new one, at most until its own end."""

    overlap_seconds = WholeNumber(
        min_value=0, max_value=int(MAX_OVERLAP.total_seconds()), default=int(DEFAULT_OVERLAP.total_seconds())
    )


class GrantDocument(serializers.Serializer[Any]):
    environment = serializers.CharField(source="environment_name", read_only=True)
    role = serializers.ChoiceField(choices=Role.choices, read_only=True)
    prefix = serializers.CharField(read_only=True)


class CallerToken(serializers.Serializer[Any]):
    """The token of a request: when it ends, and what it is limited to."""

    expires_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="null: it never expires."
    )
    environment = serializers.CharField(
        read_only=True,
        source="environment.name",
        allow_null=True,
        default=None,
        help_text="null: each that the caller sees.",
    )
    prefix = serializers.CharField(read_only=True, help_text="Empty: all names.")


class WhoAmI(serializers.Serializer[Any]):
    kind = serializers.CharField(read_only=True)
    uuid = serializers.UUIDField(read_only=True)
    name = serializers.CharField(read_only=True)
    is_admin = serializers.BooleanField(read_only=True)
    is_auditor = serializers.BooleanField(read_only=True)
    grants = GrantDocument(many=True, read_only=True)
    token = serializers.SerializerMethodField(help_text="null: the request came without a token.")

    @extend_schema_field(CallerToken(allow_null=True))
    def get_token(self, caller: Principal) -> Any:
        row = token_behind(caller)
        return None if row is None else CallerToken(row).data
