"""Trusts in the admin: to look at, to disable and to delete; the page of an environment creates them."""

from functools import partial
from typing import Any, Final

from django.contrib import admin
from django.urls import reverse

from audit_app.admin_pages.base import read_only
from audit_app.admin_pages.columns import state
from audit_app.events.actions import Action
from environments_app.admin.act_pages import offer
from environments_app.admin.acts import Act, environment_of
from environments_app.admin.base import ServiceAdmin
from environments_app.authorization.policy import Principal
from environments_app.models import Trust, UsedJwt
from environments_app.trusts import service
from environments_app.trusts.upkeep import trust_status

_DISABLE: Final = Act(
    name="disable",
    label="Disable",
    permission=Action.TRUST_CHANGE,
    use_case=partial(service.change, enabled=False),
    takes="trust",
    place=environment_of,
    against=lambda trust: "It is disabled already." if trust.disabled_at else "",
    confirmation="Workloads can no longer sign in by it, and the tokens that it issued stop working.",
    done="Disabled",
    named=lambda trust: str(trust.name),
    dangerous=True,
)


@admin.register(Trust)
class TrustAdmin(ServiceAdmin):
    """Trusts of workloads."""

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


offer(Trust, _DISABLE)
