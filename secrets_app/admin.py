"""Secrets in the admin: operators see names and metadata; no value and no sealed column is shown."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from audit_app.admin_pages.base import read_only
from audit_app.admin_pages.filters import Attention, period_of
from audit_app.admin_pages.lists import state, yes_no
from environments_app.acts import TEST_MESSAGE
from environments_app.admin.acts import offer
from environments_app.admin.base import ServiceAdmin
from environments_app.admin.forms import WriteOnlyTextarea
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal
from environments_app.errors import AccessError
from environments_app.forms.fields import CommaSeparatedField
from environments_app.models import Departure, Environment, User
from secrets_app import acts
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable, SecretError
from secrets_app.forms.secret import WrittenFields
from secrets_app.key_operations import key_check
from secrets_app.models import (
    ChangePosition,
    DataKey,
    DepartureValue,
    EnvironmentSnapshot,
    KeyJob,
    KeyMigration,
    LastAsked,
    PendingValue,
    Reference,
    Secret,
    SecretVersion,
    Share,
    Star,
    Sweep,
    VersionOrigin,
    Webhook,
    WrappedRead,
    WrappingKey,
)
from secrets_app.services import lifecycle, write
from secrets_app.types.registry import SecretType

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Secret]
else:  # generic to the type checker only
    ModelForm = forms.ModelForm


class SecretAdminForm(WrittenFields, ModelForm):
    """A secret; its value is write-only, and an empty one keeps the present value."""

    value = forms.CharField(
        required=False,
        strip=False,
        widget=WriteOnlyTextarea(attrs={"rows": 4, "autocomplete": "off", "spellcheck": "false"}),
        help_text="Write-only. Needs a membership with the right to write; leave it empty to keep the value.",
    )
    tags = CommaSeparatedField(required=False, help_text="Separated by commas.")
    comment = forms.CharField(required=False, help_text="Why the value changes.")

    class Meta:
        """What operators may edit; the rest follows from it."""

        model = Secret
        fields = ("environment", "name", "secret_type", "description", "owner", "expires_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["tags"] = ", ".join(self.instance.tags)


class StatusFilter(admin.SimpleListFilter):
    """Active secrets, unless others are chosen: the index of names begins with that."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("deleted", "Deleted"), ("all", "All")]

    def choices(self, changelist: Any) -> Any:
        first, *others = super().choices(changelist)
        yield {**first, "display": "Active"}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Secret]) -> QuerySet[Secret]:
        if self.value() == "all":
            return queryset
        return queryset.filter(live=None if self.value() == "deleted" else True)


def _overdue(rows: QuerySet[Secret]) -> QuerySet[Secret]:
    return rows.filter(live=True, rotation_due_at__lte=timezone.now())


def _expired(rows: QuerySet[Secret]) -> QuerySet[Secret]:
    return rows.filter(live=True, expires_at__lte=timezone.now())


def _expiring(rows: QuerySet[Secret]) -> QuerySet[Secret]:
    now = timezone.now()
    return rows.filter(live=True, expires_at__gt=now, expires_at__lte=now + timedelta(days=30))


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
        "owner",
        "rotation_due_at",
        "expires_at",
        "status",
    )
    list_filter = (StatusFilter, "environment")
    list_select_related = ("environment",)
    sortable_by = ("name", "rotation_due_at", "expires_at")
    search_fields = ("search_text",)
    search_help_text = "Name, description, owner or tag"
    hidden: ClassVar[frozenset[str]] = frozenset({"search_text"})
    sections = (("Value", "secret_type value comment expires_at"), ("Finding it", "description tags owner"))
    attention = (
        Attention(key="overdue", label="secrets overdue for rotation", rows=_overdue, tone="bad"),
        Attention(key="expired", label="secrets expired", rows=_expired, tone="bad"),
        Attention(key="expiring", label="secrets expiring within 30 days", rows=_expiring),
    )

    def page_of(self, obj: Any) -> str | None:
        return reverse("secret-detail", args=[obj.pk])

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the order of names, or of age where no index has the names: active and deleted together."""
        return ("-pk",) if request.GET.get(StatusFilter.parameter_name) == "all" else ("name", "id")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Keep name and environment of a stored secret: renaming and moving are acts of their own."""
        return ("environment", "name", "resolves") if obj else ()

    @admin.display(description="status")
    def status(self, row: Secret) -> str:
        return state("active" if row.live else "deleted")

    @admin.display(description="resolves references")
    def resolves(self, row: Secret) -> str:
        return yes_no(row.uses_references)

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
        lifecycle.delete(actor=actor, secret=row)


read_only(
    Share,
    "secret number shared_by recipient outside expires_at opened_at revoked_at",
    joined="secret shared_by recipient",
    search="=secret__name =shared_by__username =recipient__username",
    period="created_at",
    filters="environment",
    hidden="link_hash proof_mac",
    page=lambda row: reverse("secret-detail", args=[row.secret_id]),
)
read_only(
    WrappedRead,
    "secret environment number path bearer expires_at opened_at revoked_at",
    joined="secret environment",
    search="=secret__name =bearer",
    period="created_at",
    filters="environment",
    hidden="token_hash",
    page=lambda row: reverse("secret-detail", args=[row.secret_id]),
)


@admin.register(SecretVersion)
class SecretVersionAdmin(ServiceAdmin):
    """Versions, to look at; what is sealed is not among the columns."""

    list_display = ("secret", "environment", "number", "author", "comment", "created_at")
    list_select_related = ("secret__environment",)
    list_filter = (period_of("created_at"),)
    ordering = ("-pk",)
    sortable_by = ()
    search_fields = ("secret__search_text",)
    search_help_text = "Name, description, owner or tag of the secret"

    @admin.display(description="environment")
    def environment(self, version: SecretVersion) -> str:
        return str(version.secret.environment)

    def page_of(self, obj: Any) -> str | None:
        return reverse("secret-detail", args=[obj.secret_id])

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
        return [("yes", "opens"), ("no", "does not open"), ("unknown", "not checked yet")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DataKey]) -> QuerySet[DataKey]:
        if self.value() == "unknown":
            return queryset.filter(checked_at=None)
        if self.value() == "yes":
            return queryset.filter(check_problem="").exclude(checked_at=None)
        return queryset.exclude(check_problem="") if self.value() == "no" else queryset


@admin.register(DataKey)
class DataKeyAdmin(ServiceAdmin):
    """Data keys, to look at and to have checked: what wraps them, since when, and whether they open."""

    list_display = (
        "purpose",
        "environment",
        "key_uri",
        "active",
        "opens",
        "checked_at",
        "check_problem",
    )
    list_filter = (OpensFilter, "purpose", "environment", "active", "provider")
    list_select_related = ("environment",)
    search_fields = ("uuid", "key_uri")
    attention = (
        Attention(
            key="failing",
            label="data keys failing to open",
            rows=lambda rows: rows.exclude(check_problem=""),
            tone="bad",
        ),
    )
    actions = ("check_now",)  # type: ignore[assignment]  # as the stubs have it: none

    @admin.display(description="opens")
    def opens(self, row: DataKey) -> str:
        if row.checked_at is None:
            return state("unasked", "not checked")
        return state("failed", "no") if row.check_problem else state("reads")

    @admin.action(description="Check now whether they open", permissions=["view"])
    def check_now(self, request: HttpRequest, rows: QuerySet[DataKey]) -> None:
        """Have a worker check the data keys; no page waits for KMS."""
        count = key_check.request_checks(actor=principal_of(request), rows=rows)
        self.message_user(request, f"A worker checks {count} data keys; reload to see what it found.")


read_only(
    WrappingKey,
    "key_uri reference state rotates problem checked_at",
    filters="state",
    search="reference key_uri",
    attention=(
        Attention(
            key="problem",
            label="wrapping keys with a problem",
            rows=lambda rows: rows.exclude(problem=""),
            tone="bad",
        ),
    ),
)
read_only(
    KeyMigration,
    "started_at ended_at open outcome local_key_uri",
    filters="outcome",
    search="uuid",
    attention=(
        Attention(
            key="open", label="key migrations open", rows=lambda rows: rows.filter(open=True), tone="info"
        ),
    ),
)


def _last_with_problems(rows: QuerySet[Sweep]) -> QuerySet[Sweep]:
    last = Sweep.objects.exclude(finished_at=None).order_by("-pk").values("pk")[:1]
    return rows.filter(pk=Subquery(last), problems__gt=0)


read_only(
    Sweep,
    "started_at finished_at checked problems started_by",
    period="started_at",
    page=lambda _row: reverse("integrity"),
    attention=(
        Attention(
            key="problems", label="integrity scans with problems", rows=_last_with_problems, tone="bad"
        ),
    ),
)
read_only(
    Webhook,
    "name environment endpoint style created_by created_at",
    filters="environment",
    joined="environment",
    search="name endpoint",
    sortable="name",
    page=lambda row: reverse("notifications", args=[row.environment.name]),
)
read_only(PendingValue, "approval index environment created_at", joined="approval environment")
read_only(Star, "user secret created_at", joined="user secret")
read_only(
    Departure,
    "user kind open at ended_by_name closed_at closed_by",
    joined="user",
    search="=user__username",
    period="at",
    filters="kind open",
    page=lambda row: reverse("departure", args=[row.pk]),
)
read_only(
    DepartureValue,
    "secret departure by_policy assignee kept_by",
    joined="secret departure__user assignee",
    search="=secret__name =departure__user__username",
    page=lambda row: reverse("departure", args=[row.departure_id]),
)
read_only(VersionOrigin, "version system path number author", joined="version__secret", search="=path")
read_only(ChangePosition, "head sequence")
read_only(LastAsked, "secret_uuid actor_name number asked_at", ordering="-id")
read_only(EnvironmentSnapshot, "environment created_at", joined="environment")
read_only(KeyJob, "kind environment state person_name requested_at finished_at")

offer(User, acts.OFFBOARD)
offer(Environment, acts.TEST_KEY, refusals=(KeyUnavailable, KeyRefused, EnvelopeError))
offer(Secret, *acts.SECRETS, refusals=(SecretError,))
offer(Webhook, acts.ADD_WEBHOOK, TEST_MESSAGE, refusals=(EnvelopeError,))
