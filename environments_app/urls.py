"""The addresses of access: its pages, and its API under /api/."""

from django.urls import path

from environments_app.api import access as access_api
from environments_app.api import access_requests as access_requests_api
from environments_app.api import approvals as approvals_api
from environments_app.api import audit_log as audit_trail_api
from environments_app.api import device as device_api
from environments_app.api import environments as environments_api
from environments_app.api import people as people_api
from environments_app.api import recipients as recipients_api
from environments_app.api import reviews as reviews_api
from environments_app.api import trusts as trusts_api
from environments_app.oidc import endpoints as oidc
from environments_app.saml import endpoints as saml
from environments_app.views import access as access_views
from environments_app.views import access as memberships_views
from environments_app.views import access_requests as access_requests_views
from environments_app.views import approvals as approvals_views
from environments_app.views import environments as pages
from environments_app.views import people as people_views
from environments_app.views import profile as profile_views
from environments_app.views import reviews as reviews_views
from environments_app.views import second_factor as second_factor_views
from environments_app.views import sessions as sessions_views
from environments_app.views import sign_in as password_links_views
from environments_app.views import sign_in as sign_in_views
from environments_app.views import tokens as tokens_views
from environments_app.views import trusts as trusts_views

_ENVIRONMENT = "environments/<str:environment>"
_REQUEST = "access-requests/<int:id>"

API = [
    path("trail/keys", audit_trail_api.PublicKeysView.as_view(), name="api-trail-keys"),
    path("trail/verify", audit_trail_api.TrailVerificationView.as_view(), name="api-trail-verify"),
    path("whoami", environments_api.WhoAmIView.as_view(), name="api-whoami"),
    path("whoami/token", environments_api.CurrentTokenView.as_view(), name="api-current-token"),
    path("device/authorization", device_api.DeviceStartView.as_view(), name="api-device-authorization"),
    path("loopback/token", device_api.LoopbackTokenView.as_view(), name="api-loopback-token"),
    path("device/token", device_api.DeviceTokenView.as_view(), name="api-device-token"),
    path("environments", environments_api.EnvironmentListView.as_view(), name="api-environments"),
    path(_ENVIRONMENT, environments_api.EnvironmentView.as_view(), name="api-environment"),
    path(
        "deleted-environments",
        environments_api.DeletedEnvironmentListView.as_view(),
        name="api-deleted-environments",
    ),
    path(
        "deleted-environments/<str:environment>/restore",
        environments_api.EnvironmentRestoreView.as_view(),
        name="api-environment-restore",
    ),
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
    path(
        f"{_ENVIRONMENT}/trusts/<int:id>/fetch-keys",
        trusts_api.TrustKeysView.as_view(),
        name="api-trust-fetch-keys",
    ),
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
    *(
        path(f"approvals/<int:id>/{act}", view.as_view(), name=f"api-approval-{act}")
        for act, view in approvals_api.ACT_VIEWS.items()
    ),
    path("approvals/<int:id>/carry-out", approvals_api.CarryOutView.as_view(), name="api-approval-carry-out"),
    path("users/<str:username>/hand-over", people_api.HandOverView.as_view(), name="api-user-hand-over"),
    path("access-requests", access_requests_api.AccessRequestListView.as_view(), name="api-access-requests"),
    *(
        path(f"{_REQUEST}/{act}", view.as_view(), name=f"api-access-request-{act}")
        for act, view in access_requests_api.ACT_VIEWS.items()
    ),
    path(_REQUEST, access_requests_api.AccessRequestView.as_view(), name="api-access-request"),
    path("reviews", reviews_api.ReviewListView.as_view(), name="api-reviews"),
    path("reviews/unreviewed", reviews_api.UnreviewedView.as_view(), name="api-unreviewed"),
    path("reviews/<int:id>", reviews_api.ReviewView.as_view(), name="api-review"),
    path("reviews/<int:id>/items", reviews_api.ReviewItemListView.as_view(), name="api-review-items"),
    path(
        "reviews/<int:id>/items/<int:item>/decide",
        reviews_api.ReviewItemView.as_view(),
        name="api-review-decide",
    ),
    *(
        path(f"reviews/<int:id>/{act}", view.as_view(), name=f"api-review-{act}")
        for act, view in reviews_api.ACT_VIEWS.items()
    ),
    path("tokens", environments_api.AdminTokenListView.as_view(), name="api-admin-tokens"),
    path(
        "tokens/<int:id>/rotate",
        environments_api.AdminTokenRotationView.as_view(),
        name="api-admin-token-rotate",
    ),
    path("tokens/<int:id>", environments_api.AdminTokenView.as_view(), name="api-admin-token"),
]
# The pages of the acts on each kind of object: its address, the start of their names, and the pages.
_ACT_PAGES = (
    ("approvals/<int:id>", "approval", approvals_views.ACT_PAGES),
    ("access-requests/<int:id>", "access-request", access_requests_views.ACT_PAGES),
    ("reviews/<int:id>", "review", reviews_views.ACT_PAGES),
    ("people/<str:username>", "person", people_views.ACT_PAGES),
    ("environments/<str:name>/members/<int:id>", "member", pages.MEMBER_ACT_PAGES),
    ("environments/<str:name>/trusts/<int:id>", "trust", trusts_views.ACT_PAGES),
    ("environments/<str:name>/tokens/<int:id>", "token", tokens_views.ACT_PAGES),
    ("tokens/installation/<int:id>", "admin-token", tokens_views.ACT_PAGES),
)
# Where the address is not that of the act.
_PATHS = {"end-sessions": "sign-out", "invite-withdraw": "invite/withdraw"}
urlpatterns = [
    *(
        path(f"{address}/{_PATHS.get(act, act)}", page, name=f"{noun}-{act}")
        for address, noun, act_pages in _ACT_PAGES
        for act, page in act_pages.items()
    ),
    path("sign-in", sign_in_views.sign_in, name="sign-in"),
    path("sign-in/code", sign_in_views.sign_in_code, name="sign-in-code"),
    path("sign-in/passkey", sign_in_views.sign_in_passkey, name="sign-in-passkey"),
    path("forgot-password", password_links_views.forgotten, name="password-forgotten"),
    path("set-password", password_links_views.choose, name="password-choose"),
    path("sign-out", sign_in_views.sign_out, name="sign-out"),
    path("session", sessions_views.session_state, name="session-state"),
    path("signed-in", sessions_views.signed_in, name="signed-in"),
    path("profile", profile_views.profile, name="profile"),
    path("profile/password", profile_views.password_change, name="password-change"),
    path("profile/sign-ins/connect", profile_views.sign_in_connect, name="sign-in-connect"),
    path("profile/sign-ins/disconnect", profile_views.sign_in_disconnect, name="sign-in-disconnect"),
    path("profile/sessions/end", profile_views.session_end, name="session-end"),
    path("profile/second-factor", second_factor_views.overview, name="second-factor"),
    path("profile/second-factor/start", second_factor_views.start, name="second-factor-start"),
    path("profile/second-factor/enrol", second_factor_views.enrol, name="second-factor-enrol"),
    path("profile/second-factor/codes", second_factor_views.new_codes, name="second-factor-codes"),
    path("profile/second-factor/remove", second_factor_views.remove, name="second-factor-remove"),
    path("profile/passkeys/start", second_factor_views.passkey_start, name="passkey-start"),
    path("profile/passkeys/register", second_factor_views.passkey_register, name="passkey-register"),
    path("profile/passkeys/remove", second_factor_views.passkey_remove, name="passkey-remove"),
    path("profile/tokens/issue", tokens_views.personal_token_issue, name="personal-token-issue"),
    path(
        "profile/tokens/<uuid:uuid>/revoke", tokens_views.personal_token_revoke, name="personal-token-revoke"
    ),
    path("device", sessions_views.device, name="device"),
    path("loopback", sessions_views.loopback_page, name="loopback"),
    path("loopback/answer", sessions_views.loopback_answer, name="loopback-answer"),
    path("device/approve", sessions_views.device_approve, name="device-approve"),
    path("device/deny", sessions_views.device_deny, name="device-deny"),
    path("confirm", profile_views.confirm, name="confirm"),
    path("oidc/keys.json", oidc.client_keys, name="oidc-keys"),
    path("oidc/<slug:slug>/start", oidc.start, name="oidc-start"),
    path("oidc/<slug:slug>/callback", oidc.callback, name="oidc-callback"),
    path("oidc/<slug:slug>/signed-out", oidc.signed_out, name="oidc-signed-out"),
    path("oidc/<slug:slug>/back-channel-logout", oidc.back_channel_logout, name="oidc-back-channel-logout"),
    path(
        "oidc/<slug:slug>/front-channel-logout", oidc.front_channel_logout, name="oidc-front-channel-logout"
    ),
    path("saml/start", saml.start, name="saml-start"),
    path("saml/acs", saml.acs, name="saml-acs"),
    path("saml/finish", saml.finish, name="saml-finish"),
    path("saml/metadata", saml.metadata, name="saml-metadata"),
    path("saml/logout", saml.single_logout, name="saml-logout"),
    path("approvals", approvals_views.approval_list, name="approval-list"),
    path("approvals/<int:id>", approvals_views.approval_detail, name="approval-detail"),
    path("approvals/<int:id>/approve", approvals_views.approval_approve, name="approval-approve"),
    path("approvals/<int:id>/carry-out", approvals_views.approval_carry_out, name="approval-carry-out"),
    path("tokens", tokens_views.token_list, name="token-list"),
    path("tokens/installation", tokens_views.admin_tokens, name="admin-tokens"),
    path("tokens/installation/issue", tokens_views.admin_token_issue, name="admin-token-issue"),
    path("tokens/installation/<int:id>", tokens_views.token_detail, name="admin-token-detail"),
    path("tokens/installation/<int:id>/narrow", tokens_views.token_narrow, name="admin-token-narrow"),
    path("tokens/installation/<int:id>/rotate", tokens_views.token_rotate, name="admin-token-rotate"),
    path("people", people_views.people, name="people"),
    path("new-person", people_views.person_add, name="person-add"),
    path("people/<str:username>", people_views.person, name="person"),
    path("people/<str:username>/update", people_views.person_update, name="person-update"),
    path("profile/password-reset", profile_views.password_reset_choose, name="password-reset-choose"),
    path("profile/time-zone", profile_views.time_zone_change, name="time-zone-change"),
    path("profile/name", profile_views.name_change, name="name-change"),
    path("profile/sessions/end-others", profile_views.sessions_end_others, name="sessions-end-others"),
    path("access-requests/new", access_requests_views.request_new, name="access-request-new"),
    path("access-requests/<int:id>", access_requests_views.request_detail, name="access-request-detail"),
    path("access-requests/<int:id>/grant", access_requests_views.request_grant, name="access-request-grant"),
    path("reviews", reviews_views.review_list, name="review-list"),
    path("reviews/new", reviews_views.review_new, name="review-new"),
    path("reviews/<int:id>", reviews_views.review_detail, name="review-detail"),
    path("reviews/<int:id>/decide", reviews_views.review_decide, name="review-decide"),
    path("environments", pages.environment_list, name="environment-list"),
    path("environments/new", pages.environment_new, name="environment-new"),
    path("environments/<str:name>", pages.environment_detail, name="environment-detail"),
    path("environments/<str:name>/settings", pages.environment_update, name="environment-update"),
    path("environments/<str:name>/access", access_views.environment_access, name="environment-access"),
    path("environments/<str:name>/access/confirm", access_views.access_confirm, name="access-confirm"),
    path(
        "environments/<str:name>/access/mappings/<int:id>/confirm",
        access_views.mapping_confirm,
        name="mapping-confirm",
    ),
    path("environments/<str:name>/members", pages.member_grant, name="member-grant"),
    path(
        "environments/<str:name>/members/<int:id>/change",
        memberships_views.member_change,
        name="member-change",
    ),
    path("environments/<str:name>/trusts/new/<slug:preset>", trusts_views.trust_new, name="trust-new"),
    path("environments/<str:name>/trusts/<int:id>", trusts_views.trust_detail, name="trust-detail"),
    path("environments/<str:name>/trusts/<int:id>/change", trusts_views.trust_change, name="trust-change"),
    path("environments/<str:name>/trusts/<int:id>/enabled", trusts_views.trust_toggle, name="trust-toggle"),
    path("environments/<str:name>/trusts/<int:id>/test", trusts_views.trust_test, name="trust-test"),
    path("environments/<str:name>/tokens", pages.token_issue, name="token-issue"),
    path("environments/<str:name>/tokens/<int:id>", tokens_views.token_detail, name="token-detail"),
    path("environments/<str:name>/tokens/<int:id>/narrow", tokens_views.token_narrow, name="token-narrow"),
    path("environments/<str:name>/tokens/<int:id>/rotate", tokens_views.token_rotate, name="token-rotate"),
]
