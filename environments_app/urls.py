"""The pages of environments_app."""

from django.urls import path

from environments_app import environment_pages as pages
from environments_app import views

urlpatterns = [
    path("sign-in", views.sign_in, name="sign-in"),
    path("sign-out", views.sign_out, name="sign-out"),
    path("environments", pages.environment_list, name="environment-list"),
    path("environments/new", pages.environment_new, name="environment-new"),
    path("environments/<str:name>", pages.environment_detail, name="environment-detail"),
    path("environments/<str:name>/settings", pages.environment_update, name="environment-update"),
    path("environments/<str:name>/members", pages.member_grant, name="member-grant"),
    path("environments/<str:name>/members/<int:id>/revoke", pages.member_revoke, name="member-revoke"),
    path("environments/<str:name>/tokens", pages.token_issue, name="token-issue"),
    path("environments/<str:name>/tokens/<int:id>/revoke", pages.token_revoke, name="token-revoke"),
]
