"""The routes of access, under /api/."""

from django.urls import path

from environments_app.api import (
    access_request_views,
    access_views,
    approval_views,
    notification_views,
    trail_views,
    views,
)

urlpatterns = [
    path("trail/keys", trail_views.PublicKeysView.as_view(), name="api-trail-keys"),
    path("trail/verify", trail_views.TrailVerificationView.as_view(), name="api-trail-verify"),
    path("whoami", views.WhoAmIView.as_view(), name="api-whoami"),
    path("environments", views.EnvironmentListView.as_view(), name="api-environments"),
    path("environments/<str:environment>", views.EnvironmentView.as_view(), name="api-environment"),
    path("environments/<str:environment>/members", views.MemberListView.as_view(), name="api-members"),
    path("environments/<str:environment>/members/<int:id>", views.MemberView.as_view(), name="api-member"),
    path("environments/<str:environment>/tokens", views.TokenListView.as_view(), name="api-tokens"),
    path("environments/<str:environment>/tokens/<int:id>", views.TokenView.as_view(), name="api-token"),
    path(
        "environments/<str:environment>/tokens/<int:id>/rotate",
        views.TokenRotationView.as_view(),
        name="api-token-rotate",
    ),
    path(
        "environments/<str:environment>/access",
        access_views.EffectiveAccessView.as_view(),
        name="api-access",
    ),
    path(
        "environments/<str:environment>/suspensions",
        access_views.SuspensionsView.as_view(),
        name="api-suspensions",
    ),
    path(
        "environments/<str:environment>/suspensions/accounts/<str:user>",
        access_views.AccountConfirmationView.as_view(),
        name="api-suspended-account",
    ),
    path(
        "environments/<str:environment>/suspensions/mappings/<int:id>",
        access_views.MappingConfirmationView.as_view(),
        name="api-suspended-mapping",
    ),
    path(
        "environments/<str:environment>/recipients",
        notification_views.RecipientListView.as_view(),
        name="api-recipients",
    ),
    path(
        "environments/<str:environment>/recipients/<int:id>",
        notification_views.RecipientView.as_view(),
        name="api-recipient",
    ),
    path(
        "environments/<str:environment>/recipients/<int:id>/test",
        notification_views.RecipientTestView.as_view(),
        name="api-recipient-test",
    ),
    path("approvals", approval_views.ApprovalListView.as_view(), name="api-approvals"),
    path("approvals/<int:id>", approval_views.ApprovalView.as_view(), name="api-approval"),
    path("approvals/<int:id>/approve", approval_views.ApproveView.as_view(), name="api-approval-approve"),
    path("approvals/<int:id>/refuse", approval_views.RefuseView.as_view(), name="api-approval-refuse"),
    path("approvals/<int:id>/withdraw", approval_views.WithdrawView.as_view(), name="api-approval-withdraw"),
    path(
        "approvals/<int:id>/carry-out", approval_views.CarryOutView.as_view(), name="api-approval-carry-out"
    ),
    path("access-requests", access_request_views.AccessRequestListView.as_view(), name="api-access-requests"),
    path(
        "access-requests/<int:id>",
        access_request_views.AccessRequestView.as_view(),
        name="api-access-request",
    ),
    path(
        "access-requests/<int:id>/grant",
        access_request_views.GrantView.as_view(),
        name="api-access-request-grant",
    ),
    path(
        "access-requests/<int:id>/refuse",
        access_request_views.RefuseAccessView.as_view(),
        name="api-access-request-refuse",
    ),
    path(
        "access-requests/<int:id>/withdraw",
        access_request_views.WithdrawAccessView.as_view(),
        name="api-access-request-withdraw",
    ),
    path("tokens", views.AdminTokenListView.as_view(), name="api-admin-tokens"),
    path("tokens/<int:id>/rotate", views.AdminTokenRotationView.as_view(), name="api-admin-token-rotate"),
    path("tokens/<int:id>", views.AdminTokenView.as_view(), name="api-admin-token"),
]
