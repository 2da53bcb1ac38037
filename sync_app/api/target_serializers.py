"""The documents of the sync's API: what is sent and what is answered; no credential is ever answered."""

from typing import Any

from rest_framework import serializers

from audit_app.integrity.row_authentication import AuthenticatedRow
from environments_app.api.fields import StrictSerializer, Text, Truth, WholeNumber
from environments_app.names import MAX_PREFIX
from secrets_app.models import MAX_NAME_LENGTH
from secrets_app.values.names import MAX_TAGS
from sync_app.backends.capabilities import Grant, Need
from sync_app.backends.registry import BACKENDS, plan_notice_of
from sync_app.domain.reconciliation import Conflict, Deletion, Direction
from sync_app.models import Plan, PlanItem, Run, SyncEntry, Target
from sync_app.planning.draft_items import AdoptMode, ConflictChoice, DisconnectMode
from sync_app.planning.service import MAX_NAMES
from sync_app.targets.rules import CHANGEABLE

_MAX_NUMBER = 2**31 - 1
MAX_TEXT = 8192


class Texts(serializers.DictField):
    """An object of texts; the backend defines its names."""

    child = Text(max_length=MAX_TEXT)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        """Refuse what is no object of strings, without repeating a name or a value."""
        if not isinstance(data, dict) or not all(
            isinstance(text, str) and len(text) <= MAX_TEXT for text in data.values()
        ):
            raise serializers.ValidationError(f"This must be an object of strings of at most {MAX_TEXT:,}.")
        return {str(name): text for name, text in data.items()}


class RuleFields(StrictSerializer):
    """The rules of a target; what is left out is kept, or has its default."""

    direction = serializers.ChoiceField(choices=[str(choice) for choice in Direction], required=False)
    conflict = serializers.ChoiceField(choices=[str(choice) for choice in Conflict], required=False)
    deletion = serializers.ChoiceField(choices=[str(choice) for choice in Deletion], required=False)
    budget_number = WholeNumber(min_value=0, max_value=_MAX_NUMBER, required=False)
    budget_percent = WholeNumber(min_value=0, max_value=100, required=False)
    interval_seconds = WholeNumber(
        min_value=0, max_value=_MAX_NUMBER, required=False, help_text="0: on change and by hand only."
    )
    automatic = Truth(required=False, help_text="Whether scheduled passes apply what they plan.")


class TargetChange(RuleFields):
    """What can be changed of a target; what is left out is kept."""

    name = Text(max_length=63, required=False)
    destination = Texts(
        required=False, help_text="The fields of the destination that are rules, such as `objects` of Vault."
    )


class NewTarget(RuleFields):
    """What a target is made from; the other system is asked, and nothing is written there."""

    name = Text(max_length=63)
    backend = serializers.ChoiceField(choices=list(BACKENDS))
    destination = Texts(help_text="The destination fields of the backend.")
    credentials = Texts(write_only=True, help_text="Sealed, and never answered.")
    scope = Text(max_length=MAX_PREFIX, required=False, help_text="Only names under this prefix take part.")
    only_tags = serializers.ListField(
        child=Text(max_length=63),
        max_length=MAX_TAGS,
        required=False,
        help_text="Only secrets with one of these tags take part. For push only; never changed later.",
    )


class DraftTest(NewTarget):
    """A target that is tested before it is created: the body that creates it, of which less suffices."""

    name = Text(max_length=63, required=False)


class NewCredentials(StrictSerializer):
    """New credentials, all of them, and the fields of the destination that change along with them."""

    credentials = Texts(write_only=True)
    destination = Texts(required=False, help_text="Such as a new address; what says where it is stays.")


class SystemConfirmation(StrictSerializer):
    """Which system answers at the target's address by now, as the failed run names it."""

    system = Text(max_length=400)


class PlanRequest(StrictSerializer):
    """What a plan to sync may hold."""

    beyond_budget = serializers.BooleanField(
        default=False,
        source="options.beyond_budget",
        help_text="With more deletions than the budget allows, for a person to apply.",
    )


class AdoptionRequest(StrictSerializer):
    """The secrets of the target to adopt, and the treatment of their values."""

    names = serializers.ListField(
        child=Text(max_length=MAX_NAME_LENGTH), min_length=1, max_length=MAX_NAMES, source="options.names"
    )
    mode = serializers.ChoiceField(choices=[str(choice) for choice in AdoptMode], source="options.mode")


class LeavingRequest(StrictSerializer):
    """What becomes of what the target wrote."""

    mode = serializers.ChoiceField(choices=[str(choice) for choice in DisconnectMode], source="options.mode")


class ChoiceRequest(StrictSerializer):
    """Which side of a conflict holds."""

    choice = serializers.ChoiceField(choices=[str(choice) for choice in ConflictChoice])


class GovernedDocument(serializers.ModelSerializer[Any]):
    """A row of an environment that decides where values go, and whether it proves itself."""

    environment: serializers.SlugRelatedField[Any] = serializers.SlugRelatedField(
        slug_field="name", read_only=True
    )
    verified = serializers.SerializerMethodField(
        help_text="False: modified outside Keeper, and does nothing."
    )

    def get_verified(self, row: AuthenticatedRow) -> bool:
        return row.is_authentic()


class TargetDocument(GovernedDocument):
    """A target as it is answered."""

    backend = serializers.CharField(read_only=True)
    direction = serializers.CharField(read_only=True)
    conflict = serializers.CharField(read_only=True)
    deletion = serializers.CharField(read_only=True)
    only_tags = serializers.ListField(
        source="tags", child=serializers.CharField(), read_only=True, help_text="Empty: tags select nothing."
    )

    class Meta:
        model = Target
        fields = [
            "id", "uuid", "environment", "name", "backend", "destination", "endpoint", "system", "scope",
            "only_tags", *CHANGEABLE, "paused_at", "due_at", "last_success_at", "last_failure_at",
            "last_error", "failures", "created_at", "updated_at", "verified",
        ]  # fmt: skip
        read_only_fields = fields


class EntryDocument(serializers.ModelSerializer[SyncEntry]):
    """The state of one secret at a target."""

    state = serializers.CharField(read_only=True)
    ownership = serializers.CharField(read_only=True)

    class Meta:
        model = SyncEntry
        fields = [
            "id", "name", "secret_uuid", "state", "reason", "ownership", "base_number", "checked_at",
            "synced_at",
        ]  # fmt: skip
        read_only_fields = fields


class PlanDocument(serializers.ModelSerializer[Plan]):
    """A plan as it is answered; its items are listed apart."""

    notice = serializers.SerializerMethodField(
        help_text="What holds for every secret of such a system, such as that it shows no values; or empty."
    )

    target: serializers.PrimaryKeyRelatedField[Any] = serializers.PrimaryKeyRelatedField(read_only=True)
    kind = serializers.CharField(read_only=True)
    state = serializers.CharField(read_only=True)

    class Meta:
        model = Plan
        fields = [
            "id", "uuid", "target", "kind", "state", "options", "rules", "counts", "notice", "made_by",
            "created_at", "ready_at", "finished_at", "error",
        ]  # fmt: skip
        read_only_fields = fields

    def get_notice(self, plan: Plan) -> str:
        return plan_notice_of(str(plan.target.backend))


class ItemDocument(serializers.ModelSerializer[PlanItem]):
    """What a plan does with one secret, and what became of it."""

    act = serializers.CharField(read_only=True)
    state = serializers.CharField(read_only=True)
    ownership = serializers.CharField(read_only=True)

    class Meta:
        model = PlanItem
        fields = [
            "id", "name", "act", "reason", "state", "secret_uuid", "keeper_number", "ownership", "attempts",
            "error", "permanent", "finished_at",
        ]  # fmt: skip
        read_only_fields = fields


class MemberChangeDocument(serializers.Serializer[Any]):
    """A member of a value, and how an update changes it; no value."""

    name = serializers.CharField(read_only=True)
    change = serializers.ChoiceField(choices=["added", "removed", "changed", "same"], read_only=True)


class RunDocument(serializers.ModelSerializer[Run]):
    """A piece of work on a target, and how far it has come."""

    target: serializers.PrimaryKeyRelatedField[Any] = serializers.PrimaryKeyRelatedField(read_only=True)
    plan: serializers.PrimaryKeyRelatedField[Any] = serializers.PrimaryKeyRelatedField(
        read_only=True, allow_null=True
    )
    kind = serializers.CharField(read_only=True)
    state = serializers.CharField(read_only=True)
    trigger = serializers.CharField(read_only=True)

    class Meta:
        model = Run
        fields = [
            "id", "uuid", "target", "plan", "kind", "state", "trigger", "actor_name", "total", "finished",
            "failed", "skipped", "error", "created_at", "started_at", "finished_at",
        ]  # fmt: skip
        read_only_fields = fields


class PermissionDocument(serializers.Serializer[Any]):
    """A permission of the target's credentials."""

    name = serializers.CharField(read_only=True)
    need = serializers.ChoiceField(choices=[str(need) for need in Need], read_only=True)
    grant = serializers.ChoiceField(choices=[str(grant) for grant in Grant], read_only=True)
    note = serializers.CharField(read_only=True)


class ReportDocument(serializers.Serializer[Any]):
    """How a target answered to a test."""

    ok = serializers.BooleanField(read_only=True)
    problem = serializers.CharField(read_only=True)
    system = serializers.CharField(read_only=True)
    place = serializers.CharField(read_only=True)
    missing = PermissionDocument(many=True, read_only=True)
    unproven = PermissionDocument(many=True, read_only=True)
    permissions = PermissionDocument(many=True, read_only=True)
