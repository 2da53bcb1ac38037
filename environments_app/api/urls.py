"""The routes of access, under /api/."""

from django.urls import path

from environments_app.api import access as access_api
from environments_app.api import access_requests as access_requests_api
from environments_app.api import approvals as approvals_api
from environments_app.api import audit_trail as audit_trail_api
from environments_app.api import device as device_api
from environments_app.api import environments as environments_api
from environments_app.api import recipients as recipients_api
from environments_app.api import trusts as trusts_api

_ENVIRONMENT = "environments/<str:environment>"
_REQUEST = "access-requests/<int:id>"

urlpatterns = [
    path("trail/keys", audit_trail_api.PublicKeysView.as_view(), name="api-trail-keys"),
    path("trail/verify", audit_trail_api.TrailVerificationView.as_view(), name="api-trail-verify"),
    path("whoami", environments_api.WhoAmIView.as_view(), name="api-whoami"),
    path("whoami/token", environments_api.CurrentTokenView.as_view(), name="api-current-token"),
    path("device/authorization", device_api.DeviceStartView.as_view(), name="api-device-authorization"),
    path("loopback/token", device_api.LoopbackTokenView.as_view(), name="api-loopback-token"),
    path("device/token", device_api.DeviceTokenView.as_view(), name="api-device-token"),
    path("environments", environments_api.EnvironmentListView.as_view(), name="api-environments"),
    path(_ENVIRONMENT, environments_api.EnvironmentView.as_view(), name="api-environment"),
    path(f"{_ENVIRONMENT}/members", environments_api.MemberListView.as_view(), name="api-members"),
    path(f"{_ENVIRONMENT}/members/<int:id>", environments_api.MemberView.as_view(), name="api-member"),
    path(f"{_ENVIRONMENT}/tokens", environments_api.TokenListView.as_view(), name="api-tokens"),
    path(f"{_ENVIRONMENT}/tokens/<int:id>", environments_api.TokenView.as_view(), name="api-token"),
    path(
        f"{_ENVIRONMENT}/tokens/<int:id>/rotate",
        environments_api.TokenRotationView.as_view(),
        name="api-token-rotate",
    ),
    path(f"{_ENVIRONMENT}/trusts", trusts_api.TrustListView.as_view(), name="api-trusts"),
    path(f"{_ENVIRONMENT}/trusts/<int:id>", trusts_api.TrustView.as_view(), name="api-trust"),
    path(f"{_ENVIRONMENT}/trusts/<int:id>/test", trusts_api.TrustTrialView.as_view(), name="api-trust-test"),
    path("auth/jwt", trusts_api.WorkloadSignInView.as_view(), name="api-workload-sign-in"),
    path(f"{_ENVIRONMENT}/access", access_api.EffectiveAccessView.as_view(), name="api-access"),
    path(f"{_ENVIRONMENT}/suspensions", access_api.SuspensionsView.as_view(), name="api-suspensions"),
    path(
        f"{_ENVIRONMENT}/suspensions/accounts/<str:user>",
        access_api.AccountConfirmationView.as_view(),
        name="api-suspended-account",
    ),
    path(
        f"{_ENVIRONMENT}/suspensions/mappings/<int:id>",
        access_api.MappingConfirmationView.as_view(),
        name="api-suspended-mapping",
    ),
    path(f"{_ENVIRONMENT}/recipients", recipients_api.RecipientListView.as_view(), name="api-recipients"),
    path(f"{_ENVIRONMENT}/recipients/<int:id>", recipients_api.RecipientView.as_view(), name="api-recipient"),
    path(
        f"{_ENVIRONMENT}/recipients/<int:id>/test",
        recipients_api.RecipientTestView.as_view(),
        name="api-recipient-test",
    ),
    path("approvals", approvals_api.ApprovalListView.as_view(), name="api-approvals"),
    path("approvals/<int:id>", approvals_api.ApprovalView.as_view(), name="api-approval"),
    path(
        "approvals/<int:id>/comments", approvals_api.CommentListView.as_view(), name="api-approval-comments"
    ),
    path("approvals/<int:id>/approve", approvals_api.ApproveView.as_view(), name="api-approval-approve"),
    path("approvals/<int:id>/refuse", approvals_api.RefuseView.as_view(), name="api-approval-refuse"),
    path("approvals/<int:id>/withdraw", approvals_api.WithdrawView.as_view(), name="api-approval-withdraw"),
    path("approvals/<int:id>/carry-out", approvals_api.CarryOutView.as_view(), name="api-approval-carry-out"),
    path("access-requests", access_requests_api.AccessRequestListView.as_view(), name="api-access-requests"),
    path(_REQUEST, access_requests_api.AccessRequestView.as_view(), name="api-access-request"),
    path(f"{_REQUEST}/grant", access_requests_api.GrantView.as_view(), name="api-access-request-grant"),
    path(
        f"{_REQUEST}/refuse", access_requests_api.RefuseAccessView.as_view(), name="api-access-request-refuse"
    ),
    path(
        f"{_REQUEST}/withdraw",
        access_requests_api.WithdrawAccessView.as_view(),
        name="api-access-request-withdraw",
    ),
    path("tokens", environments_api.AdminTokenListView.as_view(), name="api-admin-tokens"),
    path(
        "tokens/<int:id>/rotate",
        environments_api.AdminTokenRotationView.as_view(),
        name="api-admin-token-rotate",
    ),
    path("tokens/<int:id>", environments_api.AdminTokenView.as_view(), name="api-admin-token"),
]
