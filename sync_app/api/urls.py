"""The routes of sync, under /api/."""

from django.urls import path

from sync_app.api import consent_views, plan_views, views

_TARGETS = "environments/<str:environment>/targets"
_TARGET = f"{_TARGETS}/<int:id>"
_PLAN = "environments/<str:environment>/plans/<int:id>"

urlpatterns = [
    path(_TARGETS, views.TargetListView.as_view(), name="api-targets"),
    path(f"{_TARGETS}/test", views.DraftTestView.as_view(), name="api-targets-test"),
    path(_TARGET, views.TargetView.as_view(), name="api-target"),
    path(f"{_TARGET}/test", views.TestView.as_view(), name="api-target-test"),
    path(f"{_TARGET}/pause", views.PauseView.as_view(), name="api-target-pause"),
    path(f"{_TARGET}/resume", views.ResumeView.as_view(), name="api-target-resume"),
    path(f"{_TARGET}/credentials", views.CredentialsView.as_view(), name="api-target-credentials"),
    path(f"{_TARGET}/plan", views.PlanRequestView.as_view(), name="api-target-plan"),
    path(f"{_TARGET}/sync", views.SyncNowView.as_view(), name="api-target-sync"),
    path(f"{_TARGET}/adopt", views.AdoptView.as_view(), name="api-target-adopt"),
    path(f"{_TARGET}/disconnect", views.DisconnectView.as_view(), name="api-target-disconnect"),
    path(f"{_TARGET}/entries", views.EntryListView.as_view(), name="api-target-entries"),
    path(f"{_TARGET}/plans", views.TargetPlanListView.as_view(), name="api-target-plans"),
    path(f"{_TARGET}/runs", views.RunListView.as_view(), name="api-target-runs"),
    path(
        "environments/<str:environment>/consents",
        consent_views.ConsentListView.as_view(),
        name="api-consents",
    ),
    path(
        "environments/<str:environment>/consents/<int:id>",
        consent_views.ConsentView.as_view(),
        name="api-consent",
    ),
    path(_PLAN, plan_views.PlanView.as_view(), name="api-plan"),
    path(f"{_PLAN}/items", plan_views.ItemListView.as_view(), name="api-plan-items"),
    path(f"{_PLAN}/apply", plan_views.ApplyView.as_view(), name="api-plan-apply"),
    path(f"{_PLAN}/items/<int:item>/resolve", plan_views.ResolveView.as_view(), name="api-plan-resolve"),
]
