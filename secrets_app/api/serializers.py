"""Documents and fields of the API of secrets.

Fields that every API of Keeper uses are elsewhere.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from environments_app.api.fields import Moment, StrictSerializer, Text, Truth, WholeNumber
from secrets_app.errors import InvalidName, InvalidValue
from secrets_app.importing.formats.registry import FORMATS
from secrets_app.importing.plan import Verdict
from secrets_app.models import Secret, SecretVersion, VersionOrigin
from secrets_app.queries.listed import ListedSecret
from secrets_app.rows.bulk_insert import CreatedSecret
from secrets_app.rows.raw_secrets import SecretRow
from secrets_app.services.bulk_create import MAX_ITEMS
from secrets_app.services.comparison import Difference
from secrets_app.services.guarded import MAX_REASON, MIN_REASON
from secrets_app.services.read import Stage
from secrets_app.types.registry import MAX_VALUE_BYTES, SecretType, parse_secret_type
from secrets_app.values.metadata import MAX_COMMENT, MAX_DESCRIPTION, MAX_OWNER, Metadata
from secrets_app.values.names import MAX_NAME_LENGTH, NAME_PATTERN, TAG_PATTERN, validate_secret_name


class ExactText(Text):
    """Text whose bounds the use case checks; they are declared here for the OpenAPI document."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.validators = []


class SecretName(ExactText):
    """A secret's name; its errors are reported together with those of other fields."""

    def __init__(self, **options: Any) -> None:
        super().__init__(pattern=NAME_PATTERN, min_length=1, max_length=MAX_NAME_LENGTH, **options)

    def to_internal_value(self, data: Any) -> str:
        """Return the name. The refusal does not repeat what was sent."""
        text = super().to_internal_value(data)
        try:
            return validate_secret_name(text)
        except InvalidName as error:
            raise serializers.ValidationError(error.reason) from error


class TypeField(serializers.ChoiceField):
    """A secret type, in any case and with `-` or `_`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(choices=SecretType.choices, **options)

    def to_internal_value(self, data: Any) -> SecretType:
        """Return the type. The refusal lists the types and does not repeat what was sent."""
        try:
            return parse_secret_type(data)
        except InvalidValue as error:
            raise serializers.ValidationError(error.reason) from error


MAX_ID = 2**63 - 1
METADATA_FIELDS = ("description", "tags", "owner", "expires_at", "uses_references")

_EXPIRES: Final = (
    "When the secret ends; it tells and never blocks. "
    "Where none is given, a certificate that is written brings its own end."
)
_RESOLVES: Final = "Whether ${environment/name} in the value is resolved when it is delivered to a target."


def metadata_of(fields: Mapping[str, Any]) -> Metadata:
    """Return the metadata among valid fields."""
    return cast("Metadata", {name: fields[name] for name in METADATA_FIELDS if name in fields})


class SecretDocument(serializers.Serializer[Secret]):
    """A secret without its value."""

    id = serializers.IntegerField()
    uuid = serializers.UUIDField()
    name = serializers.CharField()
    secret_type = serializers.ChoiceField(choices=SecretType.choices)
    environment_id = serializers.IntegerField()
    environment = serializers.CharField()
    version = serializers.IntegerField()
    revision = serializers.IntegerField()
    description = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField())
    owner = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)
    uses_references = serializers.BooleanField()
    guarded = serializers.BooleanField()
    facts = serializers.DictField()
    rotated_at = serializers.DateTimeField(allow_null=True)
    rotation_due_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    deleted_at = serializers.DateTimeField(allow_null=True)

    def to_representation(self, secret: Secret | CreatedSecret | ListedSecret | SecretRow) -> dict[str, Any]:
        """Return the document in one step: this is the hot path of reads and lists."""
        return {
            "id": secret.pk,
            "uuid": secret.uuid,
            "name": secret.name,
            "secret_type": secret.secret_type,
            "environment_id": secret.environment_id,
            "environment": secret.environment.name,
            "version": secret.current_number,
            "revision": secret.revision,
            "description": secret.description,
            "tags": secret.tags,
            "owner": secret.owner,
            "expires_at": secret.expires_at,
            "uses_references": secret.uses_references,
            "guarded": bool(secret.guarded),
            "facts": secret.facts,
            "rotated_at": secret.rotated_at,
            "rotation_due_at": secret.rotation_due_at,
            "created_at": secret.created_at,
            "updated_at": secret.updated_at,
            "deleted_at": secret.deleted_at,
        }


class StagedValue(serializers.Serializer[Any]):
    """A secret's value at one stage, for those who may reveal it."""

    stage = serializers.ChoiceField(choices=[str(stage) for stage in Stage])
    version = serializers.IntegerField()
    value = serializers.CharField(required=False)


class SecretWithValue(SecretDocument):
    """A secret and, for those who may reveal it, its value, or those of the stages that were asked for."""

    value = serializers.CharField(required=False)
    stage = serializers.ChoiceField(choices=[str(stage) for stage in Stage], required=False)
    stages = StagedValue(many=True, required=False)


class SecretWithWarnings(SecretDocument):
    """A secret, and for a new decoy the readers that would use it by accident."""

    warnings = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="Of a new decoy: who read at least 90 % of the names beside it within 30 days.",
    )


class PlacedBody(StrictSerializer):
    """A body that names an environment, by id or by name; both are taken if they are of one environment."""

    environment_id = WholeNumber(required=False, min_value=1, max_value=MAX_ID)
    environment = ExactText(required=False, help_text="The environment's name, in place of its id.")


class RequiredPlace(PlacedBody):
    """A body that has to name its environment, by `environment_id` or by `environment`."""

    def missing(self, data: Mapping[Any, Any]) -> dict[str, list[str]]:
        """Report it if neither is given."""
        if {"environment_id", "environment"} & data.keys():
            return {}
        return {"environment_id": ["Name the environment: its id here, or its name in `environment`."]}


class SecretFields(StrictSerializer):
    """The writable fields of a secret; omitted ones are kept."""

    value = ExactText(required=False, write_only=True, min_length=1, max_length=MAX_VALUE_BYTES)
    secret_type = TypeField(required=False)
    description = ExactText(required=False, max_length=MAX_DESCRIPTION)
    tags = serializers.ListField(child=ExactText(pattern=TAG_PATTERN), required=False)
    owner = ExactText(required=False, max_length=MAX_OWNER)
    expires_at = Moment(required=False, allow_null=True, help_text=_EXPIRES)
    comment = ExactText(required=False, max_length=MAX_COMMENT)

    @property
    def metadata(self) -> Metadata:
        return metadata_of(self.validated_data)


class SecretChange(SecretFields, PlacedBody):
    """A change of a secret; its name and environment may be repeated, not changed."""

    name = ExactText(required=False)
    uses_references = Truth(required=False, help_text=_RESOLVES)


class NewSecretItem(SecretFields, PlacedBody):
    """A secret to create, within a bulk call; its text stays literal."""

    name = ExactText()
    secret_type = TypeField()
    value = ExactText(write_only=True, min_length=1, max_length=MAX_VALUE_BYTES)


class NewSecretDocument(NewSecretItem, RequiredPlace):
    """A secret to create."""

    name = SecretName()
    uses_references = Truth(required=False, help_text=_RESOLVES)
    decoy = Truth(required=False, help_text="Make it a decoy: each use of it raises an alert. For managers.")


class _Objects(serializers.ListField):
    """A list of JSON objects; a field for each value of a thousand would take longer than all else here."""

    child = serializers.DictField()

    def run_child_validation(self, data: Any) -> Any:
        """Return objects as they are; anything else is the field's to refuse."""
        return data if all(type(item) is dict for item in data) else super().run_child_validation(data)


class BulkDocument(PlacedBody):
    """Up to 1,000 secrets to create, all or none; its environment serves items that name none."""

    secrets = _Objects(allow_empty=False)


class BulkResult(serializers.Serializer[Any]):
    """The secrets that were created, in the order given."""

    results = SecretDocument(many=True)
    created = serializers.IntegerField()


class OriginDocument(serializers.Serializer[VersionOrigin]):
    """Where a version was carried from, by a migration; `written` is when it was written there."""

    system = serializers.CharField()
    place = serializers.CharField()
    path = serializers.CharField()
    number = serializers.IntegerField(allow_null=True)
    id = serializers.CharField(source="identifier")
    author = serializers.CharField()
    written = serializers.DateTimeField(source="written_at", allow_null=True)
    state = serializers.CharField(help_text="`deleted` or `destroyed` if it came without its value.")


class VersionDocument(serializers.Serializer[SecretVersion]):
    """A version of a secret without its value."""

    number = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    author = serializers.CharField()
    comment = serializers.CharField()
    is_current = serializers.SerializerMethodField()
    secret_type = serializers.SerializerMethodField(
        help_text="The type that the secret had when the version was written; a rollback brings it back."
    )
    state = serializers.SerializerMethodField(help_text="`readable`, `deleted` or `destroyed`.")
    deleted_at = serializers.SerializerMethodField(
        help_text="When it was deleted; of a readable version, when it will be. Null: neither."
    )
    origin = serializers.SerializerMethodField()

    def get_deleted_at(self, version: SecretVersion) -> datetime | None:
        rules = self._secret.rules
        # What came without its value counts as destroyed here, and was deleted there.
        return rules.deleted.get(version.number)

    @extend_schema_field(OriginDocument(allow_null=True))
    def get_origin(self, version: SecretVersion) -> dict[str, Any] | None:
        """Return where it was carried from; None if it was written here, or that was changed by SQL."""
        origin = getattr(version, "origin", None)
        if origin is None:
            return None
        origin.version = version
        return OriginDocument(origin).data if origin.is_authentic() else None

    def get_state(self, version: SecretVersion) -> str:
        return self._secret.rules.state(version.number) or "readable"

    def get_is_current(self, version: SecretVersion) -> bool:
        return bool(version.number == self._secret.current_number)

    def get_secret_type(self, version: SecretVersion) -> str:
        return self._secret.type_of(version.number)

    @property
    def _secret(self) -> Secret:
        found: Secret = self.context["secret"]
        return found


class VersionWithValue(VersionDocument):
    """A version of a secret and its value."""

    value = serializers.CharField()


class RollbackDocument(StrictSerializer):
    """The version whose value becomes current again."""

    version = WholeNumber(min_value=1, max_value=2**31 - 1, source="number")


class ReadRequestDocument(StrictSerializer):
    """Why a guarded value is needed, and which version: without a number the current one."""

    reason = serializers.CharField(min_length=MIN_REASON, max_length=MAX_REASON)
    version = WholeNumber(min_value=1, max_value=2**31 - 1, source="number", required=False)


class RenameDocument(StrictSerializer):
    """The new name."""

    name = SecretName()


class DestinationDocument(RequiredPlace):
    """Where a secret is copied or moved; without a name it keeps its own."""

    name = SecretName(required=False)


class GenerateDocument(serializers.Serializer[Any]):
    """What to generate; all other members are options of the kind."""

    kind = ExactText(required=False)
    secret_type = TypeField(required=False)
    options = serializers.DictField(required=False)


class GeneratedDocument(serializers.Serializer[Any]):
    """A generated value; nothing is stored. `public` is the public half where there is one."""

    kind = serializers.CharField()
    secret_type = serializers.ChoiceField(choices=SecretType.choices)
    value = serializers.CharField()
    public = serializers.CharField(allow_null=True)


class ImportDocument(StrictSerializer):
    """The text of a file to import; without `dry_run: false` nothing is written.

    `digest`, of a dry run's answer, has the import refused should it not be what that run showed.
    """

    format = serializers.ChoiceField(choices=sorted(FORMATS))
    content = ExactText(write_only=True)
    prefix = ExactText(required=False)
    existing = serializers.ChoiceField(choices=["change", "keep"], default="change")
    dry_run = serializers.BooleanField(default=True)
    digest = ExactText(required=False)
    after = WholeNumber(
        min_value=-1, max_value=MAX_ITEMS, required=False, help_text="Of an unfinished import's answer."
    )
    part = WholeNumber(
        min_value=1,
        max_value=MAX_ID,
        required=False,
        help_text=f"Which {MAX_ITEMS:,} entries of a longer file; the answer has `parts`, their number.",
    )


class ImportLine(serializers.Serializer[Any]):
    """The planned or actual result for an entry: `reason` states why it is skipped."""

    name = serializers.CharField()
    place = serializers.IntegerField()
    result = serializers.ChoiceField(choices=[(str(item), str(item)) for item in Verdict])
    done = serializers.BooleanField()
    reason = serializers.CharField()


class UnfinishedImport(serializers.Serializer[Any]):
    """What to send along with the same file, so that the rest is written, and how many changes are left."""

    digest = serializers.CharField()
    after = serializers.IntegerField()
    left = serializers.IntegerField()


class ImportAnswer(serializers.Serializer[Any]):
    """The plan of an import and, unless it was a dry run, what became of it."""

    dry_run = serializers.BooleanField()
    digest = serializers.CharField()
    parts = serializers.IntegerField(help_text="1 for a file that is not sent in parts.")
    results = ImportLine(many=True)
    unfinished = UnfinishedImport(allow_null=True, help_text="Only of an import that has changes left.")


class ComparisonRow(serializers.Serializer[Any]):
    """One name in two environments."""

    name = serializers.CharField()
    difference = serializers.ChoiceField(choices=[(str(item), str(item)) for item in Difference])
    left_version = serializers.IntegerField(source="left_number", allow_null=True)
    right_version = serializers.IntegerField(source="right_number", allow_null=True)


class Comparison(serializers.Serializer[Any]):
    """Two environments, compared name by name."""

    left = serializers.CharField()
    right = serializers.CharField()
    results = ComparisonRow(many=True)
