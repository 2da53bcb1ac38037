"""Requests, approvals and notifications in the admin, to look at."""

from django.urls import reverse

from audit_app.admin_pages.base import read_only
from audit_app.admin_pages.filters import Attention
from environments_app.acts import ACCESS_DECISIONS, ADD_RECIPIENT, APPROVAL_DECISIONS, TEST_MESSAGE
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
offer(Approval, *APPROVAL_DECISIONS)
offer(AccessRequest, *ACCESS_DECISIONS)
