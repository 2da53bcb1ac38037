"""Environments, roles in them, tokens, group mappings and trusts in the admin; every change is a use case.

A trust can be disabled and deleted here; the page of an environment creates it.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe

import audit_app.admin  # noqa: F401 - registers the page of SinkState, which gets an act here
from audit_app.admin_pages.base import read_only, sections_of_form
from audit_app.admin_pages.filters import Attention
from audit_app.admin_pages.lists import state
from audit_app.models import SinkState
from environments_app import acts, event_sinks
from environments_app.admin.acts import offer
from environments_app.admin.base import ServiceAdmin
from environments_app.admin.forms import (
    EventSinkForm,
    MembershipForm,
    OidcProviderForm,
    SamlGroupMappingForm,
    ScimClientForm,
)
from environments_app.authentication.pending import TEST
from environments_app.authorization.policy import Principal
from environments_app.environments import memberships
from environments_app.environments import service as environments
from environments_app.environments.service import CHANGEABLE
from environments_app.models import (
    AccessConfirmation,
    Environment,
    EventSink,
    Membership,
    OidcClientKey,
    OidcProvider,
    PersonalToken,
    ProgramRelease,
    ProvisionedGroup,
    ProvisionedUser,
    SamlAssertion,
    SamlGroupMapping,
    SamlProvider,
    ScimClient,
    ScimPreset,
    ServiceToken,
    Trust,
    UsedJwt,
)
from environments_app.oidc import providers
from environments_app.single_sign_on import group_mapping
from environments_app.tokens import expiry_alerts, scim_clients
from environments_app.trusts import service
from environments_app.trusts.upkeep import trust_status

_UNMANAGED_SHOWN: Final = 20


@admin.register(Environment)
class EnvironmentAdmin(ServiceAdmin):
    list_display = ("name", "display_name", "protected", "kms_key_alias", "position", "updated_at")
    search_fields = ("name", "display_name")
    ordering = ("position", "name")
    # Clients of KV v2 set the defaults of versions, by `config`.
    fields: ClassVar[tuple[str, ...]] = ("name", *(name for name in CHANGEABLE if name != "version_defaults"))
    sections = (
        ("On pages", "display_name description colour position"),
        ("Protection", "protected approvals_required guarded_prefixes emergency_reads"),
        ("Keys and copies", "kms_key_alias offline_hours outside_hours"),
    )

    def page_of(self, obj: Any) -> str | None:
        return reverse("environment-detail", args=[obj.name])

    def get_readonly_fields(self, request: Any, obj: Any = None) -> tuple[str, ...]:
        return ("name",) if obj else ()

    def create(self, *, actor: Principal, form: Any) -> Environment:
        # The form shows 0; left so, the environment becomes the last.
        position = form.cleaned_data["position"] if "position" in form.changed_data else None
        return environments.create_environment(actor=actor, **form.cleaned_data | {"position": position})

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


read_only(
    ProgramRelease,
    "program_name environment path asked_by_name agreed_by created_at expires_at ended_at",
    filters="environment program_kind",
    joined="environment",
    search="=program_name",
    page=lambda row: reverse("environment-detail", args=[row.environment.name]),
)


@admin.register(ServiceToken)
class ServiceTokenAdmin(ServiceAdmin):
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
        return state(expiry_alerts.token_status(token))


@admin.register(PersonalToken)
class PersonalTokenAdmin(ServiceAdmin):
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


@admin.register(SamlGroupMapping)
class SamlGroupMappingAdmin(ServiceAdmin):
    form = SamlGroupMappingForm
    list_display = ("provider", "group", "environment", "role", "prefix", "suspended_at")
    list_filter = ("environment", "role")
    list_select_related = ("environment", "provider")
    search_fields = ("group",)
    ordering = ("group", "id")
    fields: ClassVar[tuple[str, ...]] = ("provider", "group", "environment", "role", "prefix")

    def create(self, *, actor: Principal, form: Any) -> SamlGroupMapping:
        return group_mapping.map_group(actor=actor, **form.cleaned_data)

    def remove(self, *, actor: Principal, row: Any) -> None:
        group_mapping.unmap_group(actor=actor, mapping=row)


@admin.register(OidcProvider)
class OidcProviderAdmin(ServiceAdmin):
    """Providers of OpenID Connect. They are disabled, never deleted: accounts belong to them."""

    form = OidcProviderForm
    list_display = ("label", "slug", "issuer", "enabled", "session_hours", "last_refused_at", "last_refusal")
    search_fields = ("slug", "label", "issuer")
    ordering = ("slug",)
    hidden = frozenset({"secret", "document"})
    sections = (
        ("", "label slug issuer enabled test"),
        ("Keeper at the provider", "client_id client_secret client_auth algorithm scopes addresses"),
        ("Who may sign in", "required_claims allows_guests creates_accounts session_hours"),
        ("Claims", "username_claim email_claim name_claim groups_claim"),
        ("Last refusal", "last_refused_at last_refusal"),
    )

    def get_readonly_fields(self, request: Any, obj: Any = None) -> tuple[str, ...]:
        fixed = ("slug", "issuer") if obj else ()
        return (*fixed, "test", "addresses", "last_refused_at", "last_refusal")

    @admin.display(description="Addresses to enter there")
    def addresses(self, provider: OidcProvider) -> str:
        """Name what the provider must know of Keeper."""
        if not settings.KEEPER_URL:
            return providers.NO_ADDRESS
        names = ("callback", "signed-out", "back-channel-logout", "front-channel-logout")
        base = f"{settings.KEEPER_URL}/oidc/{provider.slug or 'NAME'}"
        labels = ("Redirect", "After sign-out", "Back-channel logout", "Front-channel logout")
        lines = [(label, f"{base}/{name}") for label, name in zip(labels, names, strict=True)]
        lines.append(("Keeper's keys, in place of a secret", f"{settings.KEEPER_URL}{reverse('oidc-keys')}"))
        return format_html_join(mark_safe("<br>"), "{}: <code>{}</code>", lines)

    def add_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """Say before anything is typed what would refuse it."""
        if request.method == "GET" and not settings.KEEPER_URL:
            self.message_user(request, providers.NO_ADDRESS, level=messages.WARNING)
        return super().add_view(request, *args, **options)

    @admin.display(description="Try it")
    def test(self, provider: OidcProvider) -> str:
        """Lead to a sign-in that shows what the provider states, and signs nobody in."""
        if not provider.pk:
            return "Save it first, disabled if nobody is to sign in yet."
        address = f"{reverse('oidc-start', args=[provider.slug])}?{TEST}=1"
        return format_html('<a href="{}">Test this provider</a>', address)

    def create(self, *, actor: Principal, form: Any) -> OidcProvider:
        return providers.create_provider(actor=actor, **self._fields(form, form.cleaned_data))

    def change(self, *, actor: Principal, row: Any, form: Any) -> OidcProvider:
        return providers.change_provider(actor=actor, provider=row, **self._fields(form, form.changed_data))

    def _fields(self, form: Any, names: Iterable[str]) -> dict[str, Any]:
        fields = {name: form.cleaned_data[name] for name in names}
        return {"secret" if name == "client_secret" else name: fields[name] for name in fields}


@admin.register(ScimClient)
class ScimClientAdmin(ServiceAdmin):
    """SCIM clients. They are removed, never deleted: accounts belong to them."""

    form = ScimClientForm
    list_display = ("name", "preset", "issuer", "people", "removed_at", "last_error_at", "last_error")
    search_fields = ("name",)
    ordering = ("name",)
    sections = (
        ("", "name preset issuer people unmanaged removed_at"),
        ("Keeper at the provider", "addresses"),
        ("Last refusal", "last_error_at last_error"),
    )

    def get_readonly_fields(self, request: Any, obj: Any = None) -> tuple[str, ...]:
        fixed = ("name", "preset", "issuer") if obj else ()
        return (*fixed, "people", "unmanaged", "removed_at", "addresses", "last_error_at", "last_error")

    def get_fieldsets(self, request: Any, obj: Any = None) -> list[Any]:
        """Return the sections for a client too, although its page has no form."""
        if obj is None:
            return super().get_fieldsets(request, obj)
        return sections_of_form([name for _, names in self.sections for name in names.split()], self.sections)

    @admin.display(description="people")
    def people(self, client: ScimClient) -> int:
        return client.people.filter(live=True).count() if client.pk else 0

    @admin.display(description="not managed")
    def unmanaged(self, client: ScimClient) -> str:
        """Name the accounts of its sign-in that it does not manage, with what they are adopted by."""
        if not client.pk:
            return ""
        rows = scim_clients.unmanaged(client)
        shown = [
            (reverse("person", args=[user.username]), user.username, user.saml_name_id)
            for user in rows[:_UNMANAGED_SHOWN]
        ]
        if not shown:
            return "none" if client.issuer else "no sign-in is linked"
        how = (
            "have an administrator hand them over"
            if client.preset == ScimPreset.ENTRA
            else "create each with this external ID"
        )
        listed = format_html_join("", '<p><a href="{}">{}: {}</a></p>', shown)
        return format_html("<p>{} of its sign-in; to adopt them, {}:</p>{}", rows.count(), how, listed)

    @admin.display(description="What to enter there")
    def addresses(self, client: ScimClient) -> str:
        """Name what the provider must know of Keeper, in its own words."""
        return format_html_join(
            mark_safe("<br>"), "{}: <code>{}</code>", scim_clients.lines_to_paste(client.preset)
        )

    def create(self, *, actor: Principal, form: Any) -> ScimClient:
        return scim_clients.add_client(actor=actor, **form.cleaned_data)


read_only(
    ProvisionedGroup,
    "display_name group client external_id revision created_at changed_at",
    filters="client",
    joined="group client",
    search="display_name external_id =group__name",
)
read_only(
    ProvisionedUser,
    "user_name user client external_id live revision created_at changed_at",
    filters="client live",
    joined="user client",
    search="user_name external_id =user__username",
)


@admin.register(EventSink)
class EventSinkAdmin(ServiceAdmin):
    """Where events go besides the sinks of KEEPER_EVENT_SINKS; how far each has come is in its audit sink."""

    form = EventSinkForm
    list_display = ("name", "address", "created_at")
    search_fields = ("name", "address")
    ordering = ("name",)
    hidden = frozenset({"secret"})
    sections = (("", "name address"), ("Proof of identity", "credential ca_certificate"))

    def get_readonly_fields(self, request: Any, obj: Any = None) -> tuple[str, ...]:
        return ("name", "address") if obj else ()

    def create(self, *, actor: Principal, form: Any) -> EventSink:
        fields = form.cleaned_data
        return event_sinks.create_sink(
            actor=actor,
            name=fields["name"],
            address=fields["address"],
            secret=fields["credential"],
            ca_certificate=fields["ca_certificate"],
        )

    def change(self, *, actor: Principal, row: Any, form: Any) -> EventSink:
        fields = form.cleaned_data
        return event_sinks.change_sink(
            actor=actor, sink=row, secret=fields["credential"], ca_certificate=fields["ca_certificate"]
        )

    def remove(self, *, actor: Principal, row: Any) -> None:
        event_sinks.remove_sink(actor=actor, sink=row)


read_only(OidcClientKey, "created_at", hidden="private")
read_only(SamlProvider, "url fetched_at")
read_only(SamlAssertion, "uuid received_at finished_at", hidden="assertion request handle statement")


@admin.register(Trust)
class TrustAdmin(ServiceAdmin):
    list_display = (
        "name", "environment", "preset", "issuer", "role", "status", "expires_at", "last_used_at",
    )  # fmt: skip
    list_filter = ("environment", "preset", "role")
    list_select_related = ("environment",)
    search_fields = ("name", "issuer")
    ordering = ("name",)

    def page_of(self, obj: Any) -> str | None:
        return reverse("trust-detail", args=[obj.environment.name, obj.pk])

    @admin.display(description="status")
    def status(self, trust: Trust) -> str:
        return state(trust_status(trust))

    def remove(self, *, actor: Principal, row: Any) -> None:
        service.delete(actor=actor, trust=row)


read_only(UsedJwt, "id until", period="until")


offer(ServiceToken, *acts.TOKENS)
offer(PersonalToken, *acts.PERSONAL_TOKENS)
offer(SamlGroupMapping, *acts.MAPPINGS)
offer(ScimClient, *acts.SCIM_CLIENTS)
offer(Trust, *acts.TRUSTS)
offer(EventSink, *acts.EVENT_SINKS)
offer(SinkState, *acts.SINK_STATES)
