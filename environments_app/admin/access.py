"""People, environments, roles and tokens in the admin; every change is a use case."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.auth import admin as django_admin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from audit_app.admin import read_only
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
from environments_app.authentication import mfa
from environments_app.authorization.policy import Principal
from environments_app.environments import groups, memberships
from environments_app.environments import service as environments
from environments_app.models import (
    AccessConfirmation,
    AccessRequest,
    Alert,
    Approval,
    Delivery,
    Environment,
    FailedSignIns,
    GroupMember,
    KnownNetwork,
    Membership,
    Passkey,
    PersonalSettings,
    Recipient,
    SamlAssertion,
    SamlGroupMapping,
    SamlProvider,
    SecondFactor,
    ServiceToken,
    Session,
    User,
)
from environments_app.saml import group_mapping
from environments_app.tokens import service as tokens
from environments_app.users import accounts
from environments_app.users.suspensions import places_of

# Importing Django's own page registered it, which would save past the use cases.
admin.site.unregister(django_admin.Group)  # type: ignore[attr-defined]  # the stub of the admin leaves out what it imports


@admin.register(User)
class UserAdmin(ServiceAdmin):
    """Accounts. They are disabled, never deleted: the audit log names them."""

    form = UserForm
    list_display = ("username", "display_name", "email", "role", "is_active", "suspended_at", "last_login")
    list_filter = ("role", "is_active")
    search_fields = ("username", "display_name", "email")
    ordering = ("username",)
    hidden = frozenset({"password"})

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
        """Create an account."""
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

    list_display = ("name", "display_name", "position", "protected", "kms_key_alias")
    search_fields = ("name", "display_name")
    ordering = ("position", "name")
    fields: ClassVar[tuple[str, ...]] = (
        "name",
        "display_name",
        "description",
        "colour",
        "position",
        "protected",
        "kms_key_alias",
    )

    def get_readonly_fields(self, request: Any, obj: Any = None) -> tuple[str, ...]:
        """Keep the name of an existing environment."""
        return ("name",) if obj else ()

    def create(self, *, actor: Principal, form: Any) -> Environment:
        return environments.create_environment(actor=actor, **form.cleaned_data)

    def change(self, *, actor: Principal, row: Any, form: Any) -> Environment:
        """Change settings of an environment."""
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
    list_display = ("environment", "user", "group", "role", "prefix", "expires_at", "source", "granted_by")
    list_filter = ("environment", "role", "source")
    list_select_related = ("environment", "user", "group", "granted_by")
    search_fields = ("=user__username", "=group__name")
    ordering = ("environment", "id")
    fields: ClassVar[tuple[str, ...]] = ("environment", "user", "group", "role", "prefix", "expires_at")

    def get_readonly_fields(self, request: Any, obj: Any = None) -> tuple[str, ...]:
        """Keep whom an existing membership is for, and where."""
        return ("environment", "user", "group") if obj else ()

    def create(self, *, actor: Principal, form: Any) -> Membership:
        """Give a role."""
        return memberships.grant(actor=actor, **form.cleaned_data)

    def change(self, *, actor: Principal, row: Any, form: Any) -> Membership:
        """Change a role."""
        fields = {name: form.cleaned_data[name] for name in form.changed_data}
        return memberships.change_membership(actor=actor, membership=row, **fields)

    def remove(self, *, actor: Principal, row: Any) -> None:
        """Take a role away."""
        memberships.revoke_membership(actor=actor, membership=row)


read_only(
    AccessConfirmation,
    "user environment suspended_at confirmed_by confirmed_at",
    filters="environment",
    joined="user environment confirmed_by",
    search="=user__username",
)


@admin.register(ServiceToken)
class ServiceTokenAdmin(ServiceAdmin):
    """Service tokens; acts issue, rotate and revoke them."""

    list_display = ("name", "environment", "role", "prefix", "expires_at", "last_used_at", "revoked_at")
    list_filter = ("environment", "role")
    list_select_related = ("environment",)
    search_fields = ("name", "=public_id")
    ordering = ("id",)
    hidden = frozenset({"secret_hash", "pepper_id"})

    def remove(self, *, actor: Principal, row: Any) -> None:
        """Revoke a token; the row stays, since the audit log names it."""
        tokens.revoke(actor=actor, token=row)


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
        """Delete an empty group."""
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
        """Let a group grant a role."""
        return group_mapping.map_group(actor=actor, **form.cleaned_data)

    def remove(self, *, actor: Principal, row: Any) -> None:
        """End what a group grants."""
        group_mapping.unmap_group(actor=actor, mapping=row)


read_only(SecondFactor, "user created_at", joined="user", search="=user__username", hidden="recovery_codes")
read_only(Passkey, "user name relying_party created_at last_used_at", joined="user", search="=user__username")
read_only(FailedSignIns, "bucket until count")
read_only(KnownNetwork, "key until")
read_only(
    Session,
    "user address signed_in_at last_seen_at expire_date",
    joined="user",
    search="user__username address",
    hidden="session_key session_data",
)
read_only(SamlProvider, "uuid fetched_at")
read_only(SamlAssertion, "uuid received_at finished_at", hidden="assertion request handle statement")
read_only(PersonalSettings, "user digest digest_at notices_seen_at", joined="user", search="=user__username")
read_only(Recipient, "email environment created_by created_at", filters="environment", joined="environment")
read_only(
    Alert,
    "kind environment subject open opened_at told_at closed_at",
    filters="kind open environment",
    joined="environment",
    search="subject",
)
read_only(
    Delivery,
    "kind transport environment subject state attempts due_at error",
    filters="state transport environment",
    joined="environment",
)
read_only(
    AccessRequest,
    "id environment_name requester role prefix minutes state decided_by asked_at",
    filters="state role",
    joined="requester decided_by",
    search="=environment_name =requester__username",
)
read_only(
    Approval,
    "id environment action object_name requester_name state decided_by_name",
    filters="state environment action",
    joined="environment",
)
