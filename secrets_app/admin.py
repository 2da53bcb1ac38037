"""Secrets in the admin: operators see names and metadata; no value and no sealed column is shown."""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from audit_app.admin import read_only
from environments_app.admin.base import ServiceAdmin
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal
from environments_app.errors import AccessError
from secrets_app import admin_acts
from secrets_app.errors import SecretError
from secrets_app.forms.secret import WrittenFields
from secrets_app.key_operations import key_check
from secrets_app.models import (
    DataKey,
    EnvironmentSnapshot,
    KeyMigration,
    PendingValue,
    Reference,
    Secret,
    SecretVersion,
    Share,
    Star,
    Sweep,
    Webhook,
    WrappingKey,
)
from secrets_app.secret_types.registry import SecretType
from secrets_app.services import lifecycle, write

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Secret]
else:  # generic to the type checker only
    ModelForm = forms.ModelForm


class SecretAdminForm(WrittenFields, ModelForm):
    """A secret; its value is write-only, and an empty one keeps the present value."""

    value = forms.CharField(
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 4, "autocomplete": "off", "spellcheck": "false"}),
        help_text="Write-only. Needs a membership with the right to write; leave it empty to keep the value.",
    )
    tags = forms.CharField(required=False, help_text="Separated by commas.")
    comment = forms.CharField(required=False, help_text="Why the value changes.")

    class Meta:
        """What operators may edit; the rest follows from it."""

        model = Secret
        fields = ("environment", "name", "secret_type", "description", "owner", "expires_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["tags"] = ", ".join(self.instance.tags)


@admin.register(Secret)
class SecretAdmin(ServiceAdmin):
    """Secrets, active and deleted; a write needs the same membership as elsewhere."""

    form = SecretAdminForm
    refusals: ClassVar[tuple[type[Exception], ...]] = (AccessError, SecretError)
    list_display = (
        "name",
        "environment",
        "secret_type",
        "current_number",
        "resolves",
        "owner",
        "expires_at",
        "live",
    )
    list_filter = ("environment", "secret_type", "live")
    list_select_related = ("environment",)
    search_fields = ("search_text",)
    hidden: ClassVar[frozenset[str]] = frozenset({"search_text"})

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Keep name and environment of a stored secret: renaming and moving are acts of their own."""
        return ("environment", "name", "resolves") if obj else ()

    @admin.display(boolean=True, description="resolves references", ordering="resolves_as")
    def resolves(self, row: Secret) -> bool:
        """Return whether references in the value are resolved when it is delivered."""
        return row.uses_references

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Name the secret alone: deletion is soft, its versions stay with it."""
        return [str(secret) for secret in objs], {}, set(), []

    def create(self, *, actor: Principal, form: Any) -> Secret:
        given = form.cleaned_data
        return write.create(
            actor=actor,
            environment=given["environment"],
            name=given["name"],
            secret_type=SecretType(given["secret_type"]),
            value=given["value"],
            comment=given["comment"],
            **form.metadata,
        )

    def change(self, *, actor: Principal, row: Any, form: Any) -> Secret:
        """Change a secret as it is stored, not as the form has already altered it in memory."""
        given = form.cleaned_data
        stored = Secret.objects.select_related("environment").get(pk=row.pk)
        return write.update(
            actor=actor,
            secret=stored,
            value=given["value"] or None,
            secret_type=SecretType(given["secret_type"]),
            comment=given["comment"],
            **form.metadata,
        )

    def remove(self, *, actor: Principal, row: Any) -> None:
        """Delete a secret softly."""
        lifecycle.delete(actor=actor, secret=row)


read_only(
    Share,
    "secret number shared_by recipient expires_at opened_at revoked_at",
    joined="secret shared_by recipient",
    filters="environment",
    hidden="link_hash",
)


@admin.register(SecretVersion)
class SecretVersionAdmin(ServiceAdmin):
    """Versions, to look at; what is sealed is not among the columns."""

    list_display = ("secret", "number", "author", "comment", "created_at")
    list_select_related = ("secret",)
    search_fields = ("secret__search_text", "=author")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave the sealed values in the database."""
        return super().get_queryset(request).defer("value", "fingerprint")


read_only(
    Reference, "secret environment name", joined="secret", search="secret__search_text environment name"
)


class OpensFilter(admin.SimpleListFilter):
    """Whether data keys opened when they were checked last."""

    title = "last check"
    parameter_name = "opens"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return what can be chosen."""
        return [("yes", "opens"), ("no", "does not open"), ("unknown", "not checked yet")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DataKey]) -> QuerySet[DataKey]:
        """Narrow the list to what was chosen."""
        if self.value() == "unknown":
            return queryset.filter(checked_at=None)
        if self.value() == "yes":
            return queryset.filter(check_problem="").exclude(checked_at=None)
        return queryset.exclude(check_problem="") if self.value() == "no" else queryset


@admin.register(DataKey)
class DataKeyAdmin(ServiceAdmin):
    """Data keys, to look at and to have checked: what wraps them, since when, and whether they open."""

    list_display = (
        "uuid",
        "purpose",
        "environment",
        "provider",
        "key_uri",
        "other_provider",
        "active",
        "created_at",
        "retired_at",
        "opens",
        "checked_at",
        "check_problem",
    )
    list_filter = (OpensFilter, "purpose", "environment", "active", "provider")
    list_select_related = ("environment",)
    search_fields = ("uuid", "key_uri")
    actions = ("check_now",)  # type: ignore[assignment]  # as the stubs have it: none

    @admin.display(boolean=True, description="opens")
    def opens(self, row: DataKey) -> bool | None:
        """Return whether it opened when it was checked last."""
        return row.check_problem == "" if row.checked_at else None

    @admin.action(description="Check now whether they open", permissions=["view"])
    def check_now(self, request: HttpRequest, rows: QuerySet[DataKey]) -> None:
        """Have a worker check the data keys; no page waits for KMS."""
        count = key_check.request_checks(actor=principal_of(request), rows=rows)
        self.message_user(request, f"A worker checks {count} data keys; reload to see what it found.")


read_only(
    WrappingKey,
    "scope reference key_uri state rotates problem checked_at",
    filters="state",
    search="reference key_uri",
)
read_only(
    KeyMigration, "uuid local_key_uri open outcome started_at ended_at", filters="outcome", search="uuid"
)
read_only(Sweep, "uuid started_at finished_at checked problems started_by")
read_only(
    Webhook,
    "name environment endpoint style created_by created_at",
    filters="environment style",
    joined="environment",
)
read_only(PendingValue, "approval index environment created_at", joined="approval environment")
read_only(Star, "user secret created_at", joined="user secret")
read_only(EnvironmentSnapshot, "environment created_at", joined="environment")

admin_acts.register()
