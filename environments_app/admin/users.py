"""People, their groups and how they sign in, in the admin; every change is a use case."""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import admin as django_admin
from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from audit_app.admin_pages.base import ReadOnlyAdmin, read_only
from audit_app.admin_pages.filters import Attention
from audit_app.admin_pages.lists import state, yes_no
from environments_app import acts
from environments_app.admin.acts import offer
from environments_app.admin.base import ServiceAdmin
from environments_app.admin.forms import AccountForm, GroupForm, ModelForm, NewUserForm, UserForm
from environments_app.authentication import lockout, second_factor
from environments_app.authorization.policy import Principal
from environments_app.environments import groups
from environments_app.models import (
    ConnectedSignIn,
    DeviceSignIn,
    FailedSignIns,
    GroupMember,
    KnownNetwork,
    Passkey,
    PasswordLink,
    PersonalSettings,
    SecondFactor,
    Session,
    User,
)
from environments_app.users import accounts
from environments_app.users.suspensions import awaiting_confirmation, waiting_places

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
        return ("username", "offboarding") if obj else ()

    @admin.display(description="status", ordering="is_active")
    def status(self, user: User) -> str:
        if not user.is_active:
            return state("disabled")
        if getattr(user, "is_locked", False):
            return state("locked", "locked out")
        return state("suspended" if user.suspended_at else "active")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list, whose rows know whether their sign-in is locked; one statement for all."""
        changes = super().get_changelist_instance(request)
        locked = lockout.locked_among(changes.result_list)
        for user in changes.result_list:
            user.is_locked = user.pk in locked
        return changes

    @admin.display(description="two-factor", ordering="second_factor")
    def two_factor(self, user: User) -> str:
        return yes_no(user.second_factor)

    @admin.display(description="When they leave")
    def offboarding(self, user: User) -> str:
        """Lead to what the person knows, and to the one act that is needed then."""
        url = reverse("offboarding", args=[user.username])
        return format_html('<a href="{}">What they know, disabling and rotation</a>', url)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Save, and show whose confirmation a suspended account waits for, or that it waits for none."""
        before = obj.suspended_at
        super().save_model(request, obj, form, change)
        enabled = change and "is_active" in form.changed_data and obj.is_active
        if before and obj.suspended_at is None:
            hours = settings.KEEPER_RETURN_HOURS
            told = f"The access of {obj} counts again, also to values: it ended less than {hours} hours ago."
            self.message_user(request, told, messages.WARNING)
        elif (enabled or obj.suspended_at != before) and (waiting := waiting_places(obj)):
            places = [place.name for place in waiting]
            warning = f"The access of {obj} is suspended: it waits for a manager of {', '.join(places)}."
            self.message_user(request, warning, messages.WARNING)

    def create(self, *, actor: Principal, form: Any) -> User:
        fields = dict(form.cleaned_data)
        password, active = fields.pop("new_password") or None, fields.pop("is_active")
        user = accounts.create_user(actor=actor, password=password, **fields)
        return user if active else accounts.disable_user(actor=actor, user=user)

    def change(self, *, actor: Principal, row: Any, form: Any) -> User:
        fields = {name: form.cleaned_data[name] for name in form.changed_data if name in accounts.CHANGEABLE}
        user = accounts.update_user(actor=actor, user=row, **fields)
        password = form.cleaned_data.get("new_password")
        if password:
            user = accounts.set_password(actor=actor, user=user, password=password)
        if form.cleaned_data.get("remove_second_factor"):
            user = second_factor.remove(actor=actor, user=user)
        return user


@admin.register(Group)
class GroupAdmin(ServiceAdmin):
    form = GroupForm
    list_display = ("name", "decided_by")
    list_select_related = ("provisioned__client",)
    search_fields = ("name",)
    ordering = ("name",)
    hidden = frozenset({"permissions"})

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Say what a group is for in Keeper; the sentence about Django's model speaks of permissions."""
        belongs = "A group gives its people a role in an environment."
        return super().changelist_view(request, {"belongs": belongs, **(extra_context or {})})

    @admin.display(description="members decided by")
    def decided_by(self, group: Group) -> str:
        owned = getattr(group, "provisioned", None)
        return str(owned.client) if owned else "administrators"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Leave a group alone whose members a SCIM client decides."""
        return super().has_change_permission(request, obj) and not getattr(obj, "provisioned", None)

    def get_readonly_fields(self, request: Any, obj: Any = None) -> tuple[str, ...]:
        return ("name",) if obj else ()

    def create(self, *, actor: Principal, form: Any) -> Group:
        group = groups.create_group(actor=actor, name=form.cleaned_data["name"])
        groups.choose_members(actor=actor, group=group, people=form.cleaned_data["members"])
        return group

    def change(self, *, actor: Principal, row: Any, form: Any) -> Group:
        groups.choose_members(actor=actor, group=row, people=form.cleaned_data["members"])
        return Group.objects.get(pk=row.pk)

    def remove(self, *, actor: Principal, row: Any) -> None:
        groups.delete_group(actor=actor, group=row)


@admin.register(GroupMember)
class GroupMemberAdmin(ServiceAdmin):
    list_display = ("user", "group")
    list_select_related = ("user", "group")
    search_fields = ("=user__username", "=group__name")
    ordering = ("group", "user")
    fields: ClassVar[tuple[str, ...]] = ("user", "group")

    def create(self, *, actor: Principal, form: Any) -> GroupMember:
        return groups.add_to_group(actor=actor, **form.cleaned_data)

    def remove(self, *, actor: Principal, row: Any) -> None:
        groups.remove_from_group(actor=actor, member=row)


read_only(SecondFactor, "user created_at", joined="user", search="=user__username", hidden="recovery_codes")
read_only(ConnectedSignIn, "user name issuer connected_at", joined="user", search="=user__username")
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
    """Who failed to sign in, by where they tried; the account that a row is about is named if it exists."""

    list_display = ("account", "until", "attempts", "unlock")
    hidden = frozenset({"bucket"})
    list_display_links = ("until",)
    ordering = ("-pk",)
    sortable_by = ()
    attention = (Attention(key="locked", label="sign-ins locked", rows=lockout.locked, tone="bad"),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[FailedSignIns]:
        """Leave out who has not failed since they signed in, and shared limits that are not used up."""
        rows = super().get_queryset(request)
        return rows.filter(
            Q(count__gt=0) | Q(pk__in=lockout.locked(FailedSignIns.objects.all()).values("pk"))
        )

    @admin.display(description="failed attempts")
    def attempts(self, row: FailedSignIns) -> str:
        return str(row.count or "shared limit used up")

    @admin.display(description="unlock")
    def unlock(self, row: FailedSignIns) -> str:
        user = getattr(row, "user", None)
        if user is None:
            return ""
        url = reverse("admin:environments_app_user_object_act", args=[user.pk, "unlock"])
        return format_html('<a href="{}" aria-label="Unlock {}">Unlock</a>', url, user.username)

    @admin.display(description="account")
    def account(self, row: FailedSignIns) -> str:
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
    Session,
    "user address agent signed_in_at last_seen_at expire_date",
    joined="user",
    search="=user__username =address",
    ordering="-last_seen_at",
    sortable="last_seen_at signed_in_at",
    hidden="session_key session_data",
)
read_only(PersonalSettings, "user digest digest_at notices_seen_at", joined="user", search="=user__username")

offer(User, *acts.USERS)
offer(Group, *acts.GROUPS)
