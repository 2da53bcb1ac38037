"""People, environments, roles and tokens in the admin; every change is a use case."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.auth import admin as django_admin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from audit_app.admin_pages.attention import Attention
from audit_app.admin_pages.base import ReadOnlyAdmin, read_only
from audit_app.admin_pages.columns import state, yes_no
from environments_app.admin.base import ServiceAdmin
from environments_app.admin.forms import (
    AccountForm,
    GroupForm,
    MembershipForm,
    ModelForm,
    NewUserForm,
    SamlGroupMappingForm,
    UserForm,
)
from environments_app.authentication import lockout, mfa
from environments_app.authorization.policy import Principal
from environments_app.environments import groups, memberships
from environments_app.environments import service as environments
from environments_app.models import (
    AccessConfirmation,
    AccessRequest,
    Alert,
    Approval,
    ApprovalEntry,
    ApprovalState,
    AuditJob,
    Delivery,
    DeliveryState,
    DeviceSignIn,
    Environment,
    FailedSignIns,
    GroupMember,
    KnownNetwork,
    Membership,
    Passkey,
    PasswordLink,
    PersonalSettings,
    PersonalToken,
    Recipient,
    RequestState,
    SamlAssertion,
    SamlGroupMapping,
    SamlProvider,
    SecondFactor,
    ServiceToken,
    Session,
    User,
)
from environments_app.saml import group_mapping
from environments_app.sessions.personal_tokens import revoke_token
from environments_app.tokens import expiry_alerts
from environments_app.tokens import service as tokens
from environments_app.users import accounts
from environments_app.users.suspensions import awaiting_confirmation, places_of

# Importing Django's own page registered it, which would save past the use cases.
admin.site.unregister(django_admin.Group)  # type: ignore[attr-defined]  # the stub of the admin leaves out what it imports


@admin.register(User)
class UserAdmin(ServiceAdmin):
    """Accounts. They are disabled, never deleted: the audit log names them."""

    form = UserForm
    list_display = ("username", "display_name", "email", "role", "status", "two_factor", "last_login")
    list_filter = ("role", "is_active")
    search_fields = ("username", "display_name", "email")
    ordering = ("username",)
    sections = (
        ("", "username email display_name"),
        ("Access", "role is_active"),
        ("Signing in", "new_password remove_second_factor offboarding"),
    )
    hidden = frozenset({"password"})
    attention = (
        Attention(
            key="suspended", label="accounts awaiting a manager's confirmation", rows=awaiting_confirmation
        ),
    )

    def page_of(self, obj: Any) -> str | None:
        return reverse("person", args=[obj.username])

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,  # noqa: FBT001, FBT002 - Django's signature
        **kwargs: Any,
    ) -> type[ModelForm]:
        """Show a new account only its possible fields; the own account is confirmed on the profile page."""
        form: type[ModelForm] = UserForm if obj else NewUserForm
        if obj and obj == request.user:
            form = AccountForm
        return super().get_form(request, obj, change, **{"form": form} | kwargs)

    def get_readonly_fields(self, request: Any, obj: Any = None) -> tuple[str, ...]:
        """Keep the name of an existing account."""
        return ("username", "offboarding") if obj else ()

    @admin.display(description="status", ordering="is_active")
    def status(self, user: User) -> str:
        """Return whether the account works, as icon and word."""
        if not user.is_active:
            return state("disabled")
        return state("suspended" if user.suspended_at else "active")

    @admin.display(description="two-factor", ordering="second_factor")
    def two_factor(self, user: User) -> str:
        """Return whether local sign-ins need a second factor."""
        return yes_no(user.second_factor)

    @admin.display(description="When they leave")
    def offboarding(self, user: User) -> str:
        """Lead to what the person knows, and to the one act that is needed then."""
        url = reverse("offboarding", args=[user.username])
        return format_html('<a href="{}">What they know, disabling and rotation</a>', url)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Save, and show whose confirmation a suspended account waits for."""
        before = obj.suspended_at
        super().save_model(request, obj, form, change)
        places = [place.name for place in places_of(obj)] if obj.suspended_at != before else []
        if places:
            told = f"The access of {obj} is suspended: it waits for a manager of {', '.join(places)}."
            self.message_user(request, told, messages.WARNING)

    def create(self, *, actor: Principal, form: Any) -> User:
        fields = dict(form.cleaned_data)
        password, active = fields.pop("new_password") or None, fields.pop("is_active")
        user = accounts.create_user(actor=actor, password=password, **fields)
        return user if active else accounts.disable_user(actor=actor, user=user)

    def change(self, *, actor: Principal, row: Any, form: Any) -> User:
        """Change an account, and its password if one is given."""
        fields = {name: form.cleaned_data[name] for name in form.changed_data if name in accounts.CHANGEABLE}
        user = accounts.update_user(actor=actor, user=row, **fields)
        password = form.cleaned_data.get("new_password")
        if password:
            user = accounts.set_password(actor=actor, user=user, password=password)
        if form.cleaned_data.get("remove_second_factor"):
            user = mfa.remove(actor=actor, user=user)
        return user


@admin.register(Environment)
class EnvironmentAdmin(ServiceAdmin):
    """Environments."""

    list_display = ("name", "display_name", "protected", "kms_key_alias", "position", "updated_at")
    search_fields = ("name", "display_name")
    ordering = ("position", "name")
    fields: ClassVar[tuple[str, ...]] = (
        "name",
        "display_name",
        "description",
        "colour",
        "position",
        "protected",
        "approvals_required",
        "kms_key_alias",
        "offline_hours",
    )
    sections = (
        ("On pages", "display_name description colour position"),
        ("Protection", "protected approvals_required kms_key_alias offline_hours"),
    )

    def page_of(self, obj: Any) -> str | None:
        return reverse("environment-detail", args=[obj.name])

    def get_readonly_fields(self, request: Any, obj: Any = None) -> tuple[str, ...]:
        """Keep the name of an existing environment."""
        return ("name",) if obj else ()

    def create(self, *, actor: Principal, form: Any) -> Environment:
        return environments.create_environment(actor=actor, **form.cleaned_data)

    def change(self, *, actor: Principal, row: Any, form: Any) -> Environment:
        fields = {name: form.cleaned_data[name] for name in form.changed_data}
        return environments.update_environment(actor=actor, environment=row, **fields)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Save by the use case, and show what it warns of."""
        super().save_model(request, obj, form, change)
        for warning in obj.warnings:
            self.message_user(request, warning, level=messages.WARNING)


@admin.register(Membership)
class MembershipAdmin(ServiceAdmin):
    """Roles in environments."""

    form = MembershipForm
    list_display = (
        "holder",
        "environment",
        "role",
        "prefix",
        "expires_at",
        "source",
        "granted_by",
        "created_at",
    )
    list_filter = ("environment", "role", "source")
    list_select_related = ("environment", "user", "group", "granted_by")
    search_fields = ("=user__username", "=group__name")
    ordering = ("environment", "id")
    fields: ClassVar[tuple[str, ...]] = ("environment", "user", "group", "role", "prefix", "expires_at")

    def page_of(self, obj: Any) -> str | None:
        return reverse("environment-access", args=[obj.environment.name])

    def get_readonly_fields(self, request: Any, obj: Any = None) -> tuple[str, ...]:
        """Keep whom an existing membership is for, and where."""
        return ("environment", "user", "group") if obj else ()

    @admin.display(description="user or group", ordering="user")
    def holder(self, membership: Membership) -> str:
        return membership.holder

    def create(self, *, actor: Principal, form: Any) -> Membership:
        return memberships.grant(actor=actor, **form.cleaned_data)

    def change(self, *, actor: Principal, row: Any, form: Any) -> Membership:
        fields = {name: form.cleaned_data[name] for name in form.changed_data}
        return memberships.change_membership(actor=actor, membership=row, **fields)

    def remove(self, *, actor: Principal, row: Any) -> None:
        memberships.revoke_membership(actor=actor, membership=row)


read_only(
    AccessConfirmation,
    "user environment suspended_at confirmed_by confirmed_at",
    filters="environment",
    joined="user environment confirmed_by",
    search="=user__username",
    page=lambda row: reverse("environment-access", args=[row.environment.name]),
)


@admin.register(ServiceToken)
class ServiceTokenAdmin(ServiceAdmin):
    """Service tokens; acts issue, rotate and revoke them."""

    list_display = (
        "name",
        "environment",
        "role",
        "prefix",
        "status",
        "expires_at",
        "last_used_at",
        "last_used_address",
    )
    list_filter = ("environment", "role")
    list_select_related = ("environment",)
    search_fields = ("name", "=public_id")
    ordering = ("id",)
    hidden = frozenset({"secret_hash", "pepper_id"})
    attention = (
        Attention(key="expiring", label="tokens expiring soon", rows=expiry_alerts.expiring),
        Attention(key="unused", label="tokens unused", rows=expiry_alerts.unused, tone="info"),
    )

    def page_of(self, obj: Any) -> str | None:
        if obj.environment is None:
            return reverse("admin-token-detail", args=[obj.pk])
        return reverse("token-detail", args=[obj.environment.name, obj.pk])

    @admin.display(description="status")
    def status(self, token: ServiceToken) -> str:
        """Return whether the token works, as icon and word."""
        return state(expiry_alerts.token_status(token))

    def remove(self, *, actor: Principal, row: Any) -> None:
        """Revoke a token; the row stays, since the audit log names it."""
        tokens.revoke(actor=actor, token=row)


@admin.register(PersonalToken)
class PersonalTokenAdmin(ServiceAdmin):
    """Personal tokens, by which people use kpr."""

    list_display = (
        "name",
        "user",
        "environment",
        "prefix",
        "expires_at",
        "last_used_at",
        "last_used_address",
        "revoked_at",
    )
    list_filter = ("environment",)
    list_select_related = ("user", "environment")
    search_fields = ("name", "=user__username", "=public_id")
    ordering = ("id",)
    hidden = frozenset({"secret_hash", "pepper_id"})

    def remove(self, *, actor: Principal, row: Any) -> None:
        """Revoke a token; the row stays, since the audit log names it."""
        revoke_token(actor=actor, token=row)


@admin.register(Group)
class GroupAdmin(ServiceAdmin):
    """Groups of people."""

    form = GroupForm
    search_fields = ("name",)
    ordering = ("name",)
    hidden = frozenset({"permissions"})

    def create(self, *, actor: Principal, form: Any) -> Group:
        return groups.create_group(actor=actor, name=form.cleaned_data["name"])

    def remove(self, *, actor: Principal, row: Any) -> None:
        groups.delete_group(actor=actor, group=row)


@admin.register(GroupMember)
class GroupMemberAdmin(ServiceAdmin):
    """Who belongs to which group."""

    list_display = ("user", "group")
    list_select_related = ("user", "group")
    search_fields = ("=user__username", "=group__name")
    ordering = ("group", "user")
    fields: ClassVar[tuple[str, ...]] = ("user", "group")

    def create(self, *, actor: Principal, form: Any) -> GroupMember:
        """Let a person take part in a group."""
        return groups.add_to_group(actor=actor, **form.cleaned_data)

    def remove(self, *, actor: Principal, row: Any) -> None:
        """Take a person out of a group."""
        groups.remove_from_group(actor=actor, member=row)


@admin.register(SamlGroupMapping)
class SamlGroupMappingAdmin(ServiceAdmin):
    """What groups of the identity provider grant at each sign-in."""

    form = SamlGroupMappingForm
    list_display = ("group", "environment", "role", "prefix", "suspended_at")
    list_filter = ("environment", "role")
    list_select_related = ("environment",)
    search_fields = ("group",)
    ordering = ("group", "id")
    fields: ClassVar[tuple[str, ...]] = ("group", "environment", "role", "prefix")

    def create(self, *, actor: Principal, form: Any) -> SamlGroupMapping:
        return group_mapping.map_group(actor=actor, **form.cleaned_data)

    def remove(self, *, actor: Principal, row: Any) -> None:
        group_mapping.unmap_group(actor=actor, mapping=row)


read_only(SecondFactor, "user created_at", joined="user", search="=user__username", hidden="recovery_codes")
read_only(Passkey, "user name relying_party created_at last_used_at", joined="user", search="=user__username")
read_only(
    DeviceSignIn,
    "name address created_at expires_at denied_at",
    search="name address",
    hidden="secret_hash pepper_id public_id user_code",
)
read_only(
    PasswordLink,
    "user purpose address made_by created_at expires_at ended_at error",
    joined="user",
    search="=user__username =address",
    hidden="code_hash bound_to",
)


@admin.register(FailedSignIns)
class FailedSignInsAdmin(ReadOnlyAdmin):
    """Used-up attempts to sign in; the account that a row is about is named if it exists."""

    list_display = ("account", "until", "count", "bucket")
    list_display_links = ("until",)
    ordering = ("-pk",)
    sortable_by = ()
    attention = (Attention(key="locked", label="sign-ins locked", rows=lockout.locked, tone="bad"),)

    @admin.display(description="account")
    def account(self, row: FailedSignIns) -> str:
        """Lead to the account, where it can be unlocked."""
        user = getattr(row, "user", None)
        if user is None:
            return "no account"
        url = reverse("admin:environments_app_user_change", args=[user.pk])
        return format_html('<a href="{}">{}</a>', url, user.username)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list, whose rows know their accounts; one statement for all."""
        changes = super().get_changelist_instance(request)
        users = lockout.accounts_of(changes.result_list)
        for row in changes.result_list:
            row.user = users.get(row.pk)
        return changes


read_only(KnownNetwork, "key until")
read_only(
    AuditJob,
    "kind days state person_name requested_at finished_at",
    page=lambda row: reverse("admin-audit-job", args=[row.pk]),
)
read_only(
    Session,
    "user address agent signed_in_at last_seen_at expire_date",
    joined="user",
    search="=user__username =address",
    ordering="-last_seen_at",
    sortable="last_seen_at signed_in_at",
    hidden="session_key session_data",
)
read_only(SamlProvider, "url fetched_at")
read_only(SamlAssertion, "uuid received_at finished_at", hidden="assertion request handle statement")
read_only(PersonalSettings, "user digest digest_at notices_seen_at", joined="user", search="=user__username")
read_only(
    Recipient,
    "email environment created_by created_at",
    filters="environment",
    joined="environment",
    search="email",
    sortable="email",
    page=lambda row: reverse("notifications", args=[row.environment.name]),
)
read_only(
    Alert,
    "subject kind environment open opened_at told_at closed_at",
    period="opened_at",
    filters="kind open environment",
    joined="environment",
    search="subject",
    page=lambda row: row.link or None,
    attention=(
        Attention(key="open", label="alerts open", rows=lambda rows: rows.filter(open=True), tone="bad"),
    ),
)
read_only(
    Delivery,
    "subject kind transport environment state attempts due_at error",
    period="created_at",
    search="subject",
    filters="state transport environment",
    joined="environment",
    page=lambda row: row.link or None,
    attention=(
        Attention(
            key="failed",
            label="notifications not delivered",
            rows=lambda rows: rows.filter(state=DeliveryState.FAILED),
        ),
    ),
)
read_only(
    AccessRequest,
    "environment_name requester role prefix minutes state decided_by asked_at",
    period="asked_at",
    filters="state role",
    joined="requester decided_by",
    search="=environment_name =requester__username",
    page=lambda row: reverse("access-request-detail", args=[row.pk]),
    attention=(
        Attention(
            key="open",
            label="access requests open",
            rows=lambda rows: rows.filter(state=RequestState.PENDING, expires_at__gt=timezone.now()),
        ),
    ),
)
read_only(
    ApprovalEntry,
    "approval kind author_name at",
    period="at",
    filters="kind",
    joined="approval",
    search="=author_name",
    hidden="text",
)
read_only(
    Approval,
    "object_name action environment requester_name state decided_by_name asked_at expires_at",
    period="asked_at",
    search="object_name =requester_name =decided_by_name",
    filters="state environment",
    joined="environment",
    page=lambda row: reverse("approval-detail", args=[row.pk]),
    attention=(
        Attention(
            key="open",
            label="approvals pending",
            rows=lambda rows: rows.filter(state=ApprovalState.PENDING, expires_at__gt=timezone.now()),
        ),
    ),
)
