"""Secrets and their versions: what is kept, under which name, and in which state."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self
from uuid import UUID

from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow, mac_message
from audit_app.interfaces import Purpose, keyring
from audit_app.models import MAC_LENGTH, deployment_uuid
from audit_app.recording.drafts import AuditObject, ManifestEntry
from core.db.columns import ExactCharField, LiveField, optional_text, optional_timestamp, timestamp
from core.db.identity import Identified
from environments_app.models import Environment
from secrets_app.envelope import SECRET_VERSION_VALUE, Context, version_parent
from secrets_app.keys.encrypted_field import EncryptedField
from secrets_app.keys.models import DataKey
from secrets_app.models.tags import TagsField, tags_text
from secrets_app.models.version_rules import VersionRules
from secrets_app.types.registry import SecretType

MAX_NAME_LENGTH = 512
_TAGS_LABEL: Final = "secret-tags"


class Secret(AuthenticatedRow):
    """A named value of one environment; the value itself is in its versions.

    `live` is True, or NULL once deleted: NULLs are distinct in a unique constraint on every
    database, so a name is unique among the living and may be reused after a deletion.
    """

    MAC_LABEL: ClassVar[str] = "secret"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "environment.uuid",
        "name",
        "secret_type",
        "current_number",
        "previous_number",
        "pending_number",
        "live",
    )
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = (
        "resolves_as",
        "version_rules",
        "guarded",
        "decoy",
    )

    # Found by the indexes below that begin with it.
    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="secrets",
        db_index=False,
        help_text="The environment that holds the secret.",
    )
    name = ExactCharField(
        max_length=MAX_NAME_LENGTH,
        help_text="Path of the secret, such as billing/database. Unique in its environment.",
    )
    secret_type = models.CharField(
        max_length=20,
        choices=SecretType.choices,
        verbose_name="type",
        help_text="What the value is. Keeper checks the value against its type.",
    )
    description = models.CharField(
        max_length=2000,
        blank=True,
        help_text="What the secret is for. Viewers see it, so it must not hold the value.",
    )
    tags = TagsField(blank=True, default=list, help_text="Words to find the secret by.")
    # The tags decide where a value goes if a target selects by them; the row MAC does not cover them. Empty
    # while Keeper has stored no tags since it keeps this.
    tags_mac = models.BinaryField(
        max_length=MAC_LENGTH,
        default=b"",
        db_default=b"",
        editable=False,
        verbose_name="MAC of the tags",
        help_text="Keyed checksum of the tags. Written by Keeper, never shown.",
    )
    owner = models.CharField(
        max_length=150,
        blank=True,
        db_index=True,
        help_text="Person or team that is responsible for the secret.",
    )
    expires_at = optional_timestamp(
        "expires", "When the value stops working, in UTC. Certificates set it themselves."
    )
    facts = models.JSONField(
        default=dict,
        blank=True,
        help_text="What Keeper derived from the value, such as the fingerprint of a certificate.",
    )
    current_number = models.PositiveIntegerField(
        default=1, verbose_name="current version", help_text="Number of the version that is delivered now."
    )
    previous_number = models.PositiveIntegerField(
        null=True,
        blank=True,
        verbose_name="previous version",
        help_text="Number of the version that was current before.",
    )
    pending_number = models.PositiveIntegerField(
        null=True,
        blank=True,
        verbose_name="pending version",
        help_text="Number of the version that a rotation is preparing.",
    )
    revision = models.PositiveIntegerField(
        default=1, help_text="Counts changes of the metadata. Part of the ETag."
    )
    live = LiveField(verbose_name="active", help_text="Yes for an active secret. No once it is deleted.")
    deleted_at = optional_timestamp(
        "deleted", "When the secret was deleted, in UTC. It can be restored until it is purged."
    )
    rotated_at = optional_timestamp("rotated", "When the value was last replaced, in UTC.")
    rotation_due_at = optional_timestamp("rotation due", "When the value has to be replaced, in UTC.")
    # Who wrote the value last ("user:<uuid>"), if its references are resolved when it is delivered to a
    # target; empty: its text is literal.
    resolves_as = optional_text(
        "resolves references as",
        "The account whose rights apply to references in the value. Empty: the value is literal.",
        max_length=60,
        editable=False,
    )
    # Null where it is not: a row of older releases has no value, and its MAC covers none.
    guarded = models.BooleanField(
        null=True,
        default=None,
        editable=False,
        help_text="Yes if a value is read only after a second person has agreed.",
    )
    decoy = models.BooleanField(
        null=True,
        default=None,
        editable=False,
        help_text="Yes if nobody has a reason to use it, so that each use raises an alert.",
    )
    # As `VersionRules` writes it; empty while every version can be read and no client demands anything.
    version_rules = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="Which versions are deleted or destroyed, and what clients of KV v2 demand of writers.",
    )
    # The covered `version_rules` decide; this finds what a worker has to delete.
    version_ends_at = models.DateTimeField(
        null=True,
        blank=True,
        db_index=True,
        editable=False,
        verbose_name="current version ends",
        help_text="When the current version is deleted, in UTC. Empty: it is not.",
    )
    custom_metadata = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="What clients of KV v2 describe the secret with. Viewers see it.",
    )
    search_text = models.TextField(
        blank=True,
        editable=False,
        help_text="Lower-cased text of the metadata that searches use. Never shown.",
    )
    created_at = timestamp("created", "When the secret was created, in UTC.")
    updated_at = timestamp("updated", "When value or metadata last changed, in UTC.")

    # The columns as they were read, by the names of attributes; empty for a new secret.
    _stored: Mapping[str, Any] = MappingProxyType({})

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["environment", "name", "live"], name="secret_live_name")
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["live", "name", "id"], name="secret_by_name"),
            models.Index(fields=["live", "updated_at", "id"], name="secret_by_change"),
            models.Index(fields=["live", "expires_at", "id"], name="secret_by_expiry"),
            models.Index(fields=["live", "rotation_due_at", "id"], name="secret_by_rotation"),
            models.Index(fields=["environment", "live", "name", "id"], name="secret_env_by_name"),
            models.Index(fields=["environment", "live", "updated_at", "id"], name="secret_env_by_change"),
        ]
        ordering: ClassVar[list[str]] = ["name", "id"]

    def __str__(self) -> str:
        return str(self.name)

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any]) -> Self:
        """Return the secret of a row, and keep what was read, so that only what differs is written."""
        secret = super().from_db(db, field_names, values)
        secret._stored = dict(zip(field_names, values, strict=False))  # noqa: SLF001 - our own
        return secret

    def note_stored(self) -> None:
        """Take the present columns as those of the row."""
        present = vars(self)
        names = (field.attname for field in self._meta.concrete_fields)
        self._stored = {name: present[name] for name in names if name in present}

    def changed_fields(self) -> set[str]:
        """Return the fields whose values are not those that were read; lists and dicts count as changed."""
        present, stored = vars(self), self._stored
        fields = [field for field in self._meta.concrete_fields if field.attname in present]
        # What was changed in place still equals itself.
        in_place = {field.name for field in fields if isinstance(present[field.attname], list | dict)}
        return in_place | {
            field.name
            for field in fields
            if field.attname not in stored or stored[field.attname] != present[field.attname]
        }

    @property
    def was_guarded(self) -> bool:
        """Whether it is guarded as it is stored."""
        return bool(self._stored.get("guarded"))

    @property
    def uses_references(self) -> bool:
        """Whether `${environment/name}` in the value is resolved when it is delivered to a target."""
        return bool(self.resolves_as)

    @property
    def left_out(self) -> bool:
        """Whether no read of many and no delivery takes it along: it is guarded, or a decoy."""
        return bool(self.guarded or self.decoy)

    @property
    def rules(self) -> VersionRules:
        """Which versions are gone, and the rules of writers."""
        return VersionRules.of(self.version_rules)

    @rules.setter
    def rules(self, rules: VersionRules) -> None:
        self.version_rules = rules.stored()

    def type_of(self, number: int) -> str:
        """Return the type that the secret had when a version was written."""
        return self.rules.type_of(number, now=self.secret_type)

    @property
    def cas_required(self) -> bool:
        """Whether writers of KV v2 must name the version that they have seen."""
        return self.rules.cas_required

    @cas_required.setter
    def cas_required(self, required: bool) -> None:
        self.rules = replace(self.rules, cas_required=required)

    @property
    def max_versions(self) -> int:
        """How many versions clients of KV v2 see, 0 for all."""
        return self.rules.max_versions

    @max_versions.setter
    def max_versions(self, count: int) -> None:
        self.rules = replace(self.rules, max_versions=count)

    @property
    def metadata_version(self) -> int:
        """How often clients of KV v2 wrote the metadata."""
        return self.rules.metadata_version

    @metadata_version.setter
    def metadata_version(self, count: int) -> None:
        self.rules = replace(self.rules, metadata_version=count)

    @property
    def delete_version_after(self) -> int:
        """How many seconds a new version can be read, 0 for always."""
        return self.rules.delete_version_after

    @delete_version_after.setter
    def delete_version_after(self, seconds: int) -> None:
        self.rules = replace(self.rules, delete_version_after=seconds)

    def note_end(self) -> None:
        """Set when the version ends that is served."""
        self.version_ends_at = self.rules.deleted.get(self.current_number) if self.live else None

    @property
    def is_withdrawn(self) -> bool:
        """Whether it is deleted because its current version is: a new value brings it back."""
        return not self.live and bool(self.rules.state(self.current_number)) and not self.rules.hidden

    @property
    def etag(self) -> str:
        """The secret, version and revision that an optimistic writer must name (RFC 9110, 8.8.3).

        Another secret that gets the name has another one.
        """
        return etag_of(self.pk, self.current_number, self.revision)

    @property
    def state(self) -> str:
        """The version and revision, for what is bound to the secret besides."""
        return f"{self.current_number}-{self.revision}"

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind="secret", uuid=self.uuid, name=self.name)

    def manifest_entry(self, number: int) -> ManifestEntry:
        return ManifestEntry(secret_uuid=str(self.uuid), number=number, name=self.name)

    def seal_tags(self) -> None:
        """Compute and set the MAC of the present tags, which a user has just chosen or confirmed."""
        self.tags_mac = tags_mac(self.uuid, self.tags)

    def proves_tags(self) -> bool:
        """Return whether Keeper stored these tags, or the absence of any."""
        return has_valid_tags_mac(self.uuid, self.tags, self.tags_mac)

    def refresh_search_text(self) -> None:
        self.search_text = search_text(self.name, self.description, self.owner, self.tags)


def etag_of(pk: int, number: int, revision: int) -> str:
    """Return what names a secret, its version and its revision."""
    return f"{pk}-{number}-{revision}"


def tags_mac(secret: UUID | str, tags: Iterable[str]) -> bytes:
    """Return the MAC of a secret's tags."""
    return keyring().mac(Purpose.ROW_MAC, _tags_message(secret, tags))


def has_valid_tags_mac(secret: UUID, tags: Iterable[str], mac: bytes | memoryview) -> bool:
    """Return whether Keeper stored these tags of a secret."""
    return bool(mac) and keyring().verify(Purpose.ROW_MAC, _tags_message(secret, tags), bytes(mac))


def _tags_message(secret: UUID | str, tags: Iterable[str]) -> bytes:
    return mac_message(_TAGS_LABEL, secret, {"tags": tags_text([*tags])})


def search_text(name: str, description: str, owner: str, tags: Iterable[str]) -> str:
    """Return what a search of a secret looks into."""
    return "\n".join((name, description, owner, *tags)).lower()


class SecretVersion(Identified):
    """One value that a secret has had, sealed; never changed, only sealed again or destroyed."""

    # Found by the index of its numbers.
    secret = models.ForeignKey(
        Secret,
        on_delete=models.CASCADE,
        related_name="versions",
        db_index=False,
        help_text="The secret that had this value.",
    )
    number = models.PositiveIntegerField(
        verbose_name="version", help_text="Number of the version. It counts up from 1."
    )
    value = EncryptedField(
        label=SECRET_VERSION_VALUE,
        context="sealing_context",
        verbose_name="encrypted value",
        help_text="The value, encrypted. Never shown.",
    )
    # The envelope also contains the data key's uuid; the column finds the values under a key. Null marks
    # a value of the older scheme.
    data_key = models.ForeignKey(
        DataKey,
        to_field="uuid",
        null=True,
        on_delete=models.PROTECT,
        related_name="versions",
        help_text="The key that encrypts the value. Empty for values of the older scheme.",
    )
    fingerprint = models.BinaryField(
        max_length=48, help_text="Keyed fingerprint for comparisons. Never shown."
    )
    author = models.CharField(max_length=150, help_text="Name of the person or program that wrote the value.")
    author_uuid = models.UUIDField(
        verbose_name="author UUID", help_text="Identifier of the account or token that wrote the value."
    )
    comment = models.CharField(max_length=500, blank=True, help_text="Why the value was changed.")
    created_at = timestamp("created", "When the value was written, in UTC.")
    # What clients of /vault see as the time of a carried version; no MAC covers it here, but in its origin.
    written_at = optional_timestamp(
        "written there", "When the value was written in the system that it was carried from, in UTC."
    )
    # The secret's covered `version_rules` decide; this finds the rows that hold no value.
    destroyed_at = optional_timestamp("destroyed", "When the value was destroyed for ever, in UTC.")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["secret", "number"], name="version_number")
        ]
        ordering: ClassVar[list[str]] = ["-number"]

    def __str__(self) -> str:
        return f"{self.secret} v{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the version; raises TypeError for one that is already stored."""
        if not self._state.adding:
            raise TypeError("a stored version does not change; write a new one")
        super().save(*args, **kwargs)

    @property
    def state(self) -> str:
        """Whether it is deleted or destroyed; nothing for a version that can be read."""
        return self.secret.rules.state(self.number)

    @property
    def former_type(self) -> str:
        """The name of the type that the secret had when it was written; nothing if it has that type now."""
        found = self.secret.type_of(self.number)
        return "" if found == self.secret.secret_type else SecretType(found).label

    def sealing_context(self) -> Context:
        return version_context(
            version=self.uuid,
            secret=self.secret.uuid,
            number=self.number,
            environment=self.secret.environment.uuid,
            guarded=self.secret.left_out,
        )


def version_context(*, version: UUID, secret: UUID, number: int, environment: UUID, guarded: bool) -> Context:
    """Return the context of a version's value: its own row, its secret and number, its environment."""
    return Context(
        deployment=deployment_uuid(),
        label=SECRET_VERSION_VALUE,
        row=version,
        environment=environment,
        parent=version_parent(secret=secret, number=number),
        guarded=guarded,
    )
