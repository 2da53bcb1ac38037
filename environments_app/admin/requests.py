"""Requests, approvals and notifications in the admin, to look at."""

from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe

from audit_app.admin_pages.base import ReadOnlyAdmin, read_only
from audit_app.admin_pages.filters import Attention, period_of
from audit_app.admin_pages.lists import state
from environments_app.acts import (
    ACCESS_DECISIONS,
    ADD_RECIPIENT,
    APPROVAL_DECISIONS,
    RETRY_MESSAGE,
    TEST_MESSAGE,
)
from environments_app.admin.acts import offer
from environments_app.models import (
    AccessRequest,
    Alert,
    Approval,
    ApprovalEntry,
    ApprovalState,
    AuditJob,
    Delivery,
    DeliveryState,
    Recipient,
    RequestState,
    Review,
    ReviewItem,
)
from environments_app.models.approval import in_time
from environments_app.notifications.service import transports

read_only(
    AuditJob,
    "kind days state person_name requested_at finished_at",
    page=lambda row: reverse("admin-audit-job", args=[row.pk]),
)
read_only(
    Recipient,
    "email environment created_by created_at",
    filters="environment",
    joined="environment",
    search="email",
    sortable="email",
    page=lambda row: reverse("notifications", args=[row.environment.name]),
)


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """What somebody has to look at, and whom messages about it reach."""

    list_display = ("subject", "kind", "environment", "status", "sent_to", "opened_at")
    list_filter = (period_of("opened_at"), "kind", "open", "environment")
    list_select_related = ("environment",)
    search_fields = ("subject",)
    ordering = ("-pk",)
    sortable_by = ()
    attention = (
        Attention(key="open", label="alerts open", rows=lambda rows: rows.filter(open=True), tone="bad"),
    )

    def page_of(self, obj: Alert) -> str | None:
        return obj.link or None

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Show the text as lines, and whom messages reach after the subject."""
        names = ["text" if name == "lines" else name for name in super().get_fields(request, obj)]
        return ["subject", "status", "sent_to", *(name for name in names if name not in {"subject", "open"})]

    @admin.display(description="status", ordering="open")
    def status(self, alert: Alert) -> str:
        return state("open" if alert.open else "closed")

    @admin.display(description="text")
    def text(self, alert: Alert) -> str:
        return format_html_join(mark_safe("<br>"), "{}", ((line,) for line in alert.lines))

    @admin.display(description="sent to")
    def sent_to(self, alert: Alert) -> str:
        """Return the recipients of messages now, by channel, with the page where they are set up.

        The people whom an alert concerns get it besides.
        """
        reached = getattr(alert, "reached", None) or _reached(alert)
        if alert.environment is None:
            return reached if reached != _NOBODY else f"{_NOBODY}: set KEEPER_ALERT_EMAILS"
        link = reverse("notifications", args=[alert.environment.name])
        words = f"{_NOBODY}: set them up" if reached == _NOBODY else reached
        return format_html('<a href="{}">{}</a>', link, words)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list, whose rows know whom they reach; asked once for each environment."""
        changes, reached = super().get_changelist_instance(request), dict[Any, str]()
        for alert in changes.result_list:
            place = alert.environment_id
            reached[place] = alert.reached = reached.get(place) or _reached(alert)
        return changes


_NOBODY: Final = "no recipients"


def _reached(alert: Alert) -> str:
    counts = {name: len(way.addressees(alert.environment)) for name, way in transports().items()}
    return ", ".join(f"{count} by {name}" for name, count in counts.items() if count) or _NOBODY


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
            rows=lambda rows: rows.filter(in_time(), state=RequestState.PENDING),
        ),
    ),
)
read_only(
    Review,
    "name state items_count opened_by_name population_at due_at closed_by_name closed_at",
    period="population_at",
    filters="state",
    search="name =opened_by_name",
    page=lambda row: reverse("review-detail", args=[row.pk]),
)
read_only(
    ReviewItem,
    "subject_name kind environment_name role prefix reviewer_name decision decided_at",
    period="decided_at",
    filters="decision kind",
    search="=subject_name =environment_name =reviewer_name",
    page=lambda row: reverse("review-detail", args=[row.review_id]),
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
            rows=lambda rows: rows.filter(in_time(), state=ApprovalState.PENDING),
        ),
    ),
)

offer(Recipient, ADD_RECIPIENT, TEST_MESSAGE)
offer(Delivery, RETRY_MESSAGE)
offer(Approval, *APPROVAL_DECISIONS)
offer(AccessRequest, *ACCESS_DECISIONS)
