"""The pages of environments_app."""

from django.urls import path

from environments_app import (
    access_pages,
    access_request_pages,
    approval_pages,
    profile_pages,
    second_factor_pages,
    token_pages,
    trail_pages,
    views,
)
from environments_app import environment_pages as pages
from environments_app.saml import pages as saml

urlpatterns = [
    path("sign-in", views.sign_in, name="sign-in"),
    path("sign-in/code", views.sign_in_code, name="sign-in-code"),
    path("sign-out", views.sign_out, name="sign-out"),
    path("integrity/trail", trail_pages.trail, name="trail"),
    path("integrity/trail/verify", trail_pages.trail_verify, name="trail-verify"),
    path("profile", profile_pages.profile, name="profile"),
    path("profile/password", profile_pages.password_change, name="password-change"),
    path("profile/sessions/end", profile_pages.session_end, name="session-end"),
    path("profile/second-factor", second_factor_pages.overview, name="second-factor"),
    path("profile/second-factor/start", second_factor_pages.start, name="second-factor-start"),
    path("profile/second-factor/enrol", second_factor_pages.enrol, name="second-factor-enrol"),
    path("profile/second-factor/codes", second_factor_pages.new_codes, name="second-factor-codes"),
    path("profile/second-factor/remove", second_factor_pages.remove, name="second-factor-remove"),
    path("confirm", profile_pages.confirm, name="confirm"),
    path("saml/start", saml.start, name="saml-start"),
    path("saml/acs", saml.acs, name="saml-acs"),
    path("saml/finish", saml.finish, name="saml-finish"),
    path("saml/metadata", saml.metadata, name="saml-metadata"),
    path("saml/logout", saml.single_logout, name="saml-logout"),
    path("approvals", approval_pages.approval_list, name="approval-list"),
    path("approvals/<int:id>", approval_pages.approval_detail, name="approval-detail"),
    path("approvals/<int:id>/approve", approval_pages.approval_approve, name="approval-approve"),
    path("approvals/<int:id>/refuse", approval_pages.approval_refuse, name="approval-refuse"),
    path("approvals/<int:id>/withdraw", approval_pages.approval_withdraw, name="approval-withdraw"),
    path("approvals/<int:id>/explain", approval_pages.approval_explain, name="approval-explain"),
    path("approvals/<int:id>/carry-out", approval_pages.approval_carry_out, name="approval-carry-out"),
    path("tokens", token_pages.token_list, name="token-list"),
    path("access-requests/new", access_request_pages.request_new, name="access-request-new"),
    path("access-requests/<int:id>", access_request_pages.request_detail, name="access-request-detail"),
    path("access-requests/<int:id>/grant", access_request_pages.request_grant, name="access-request-grant"),
    path(
        "access-requests/<int:id>/refuse", access_request_pages.request_refuse, name="access-request-refuse"
    ),
    path(
        "access-requests/<int:id>/withdraw",
        access_request_pages.request_withdraw,
        name="access-request-withdraw",
    ),
    path("environments", pages.environment_list, name="environment-list"),
    path("environments/new", pages.environment_new, name="environment-new"),
    path("environments/<str:name>", pages.environment_detail, name="environment-detail"),
    path("environments/<str:name>/settings", pages.environment_update, name="environment-update"),
    path("environments/<str:name>/access", access_pages.environment_access, name="environment-access"),
    path("environments/<str:name>/access/confirm", access_pages.access_confirm, name="access-confirm"),
    path(
        "environments/<str:name>/access/mappings/<int:id>/confirm",
        access_pages.mapping_confirm,
        name="mapping-confirm",
    ),
    path("environments/<str:name>/members", pages.member_grant, name="member-grant"),
    path("environments/<str:name>/members/<int:id>/revoke", pages.member_revoke, name="member-revoke"),
    path("environments/<str:name>/tokens", pages.token_issue, name="token-issue"),
    path("environments/<str:name>/tokens/<int:id>", token_pages.token_detail, name="token-detail"),
    path("environments/<str:name>/tokens/<int:id>/narrow", token_pages.token_narrow, name="token-narrow"),
    path("environments/<str:name>/tokens/<int:id>/rotate", token_pages.token_rotate, name="token-rotate"),
    path("environments/<str:name>/tokens/<int:id>/revoke", pages.token_revoke, name="token-revoke"),
]
