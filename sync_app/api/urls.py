"""The routes of sync, under /api/."""

from django.urls import path

from sync_app.api import consent_views, exposure_views, plan_views, rotation_views, views

_TARGETS = "environments/<str:environment>/targets"
_TARGET = f"{_TARGETS}/<int:id>"
_PLAN = "environments/<str:environment>/plans/<int:id>"
_POLICIES = "environments/<str:environment>/rotation-policies"
_POLICY = f"{_POLICIES}/<int:id>"
_ROTATION = "environments/<str:environment>/rotations/<int:id>"

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
    path(f"{_PLAN}/items/<int:item>/members", plan_views.MembersView.as_view(), name="api-plan-members"),
    path(f"{_PLAN}/items/<int:item>/resolve", plan_views.ResolveView.as_view(), name="api-plan-resolve"),
    path(_POLICIES, rotation_views.PolicyListView.as_view(), name="api-rotation-policies"),
    path(_POLICY, rotation_views.PolicyView.as_view(), name="api-rotation-policy"),
    path(f"{_POLICY}/credentials", rotation_views.ConnectionView.as_view(), name="api-rotation-credentials"),
    path(f"{_POLICY}/suspend", rotation_views.SuspendView.as_view(), name="api-rotation-suspend"),
    path(f"{_POLICY}/resume", rotation_views.ResumePolicyView.as_view(), name="api-rotation-resume"),
    path(f"{_POLICY}/rotate", rotation_views.RotateView.as_view(), name="api-rotate"),
    path(f"{_POLICY}/dry-run", rotation_views.RehearseView.as_view(), name="api-rotation-dry-run"),
    path(f"{_POLICY}/rotations", rotation_views.RotationListView.as_view(), name="api-rotations"),
    path(_ROTATION, rotation_views.OneRotationView.as_view(), name="api-rotation"),
    path(f"{_ROTATION}/retry", rotation_views.RetryView.as_view(), name="api-rotation-retry"),
    path(f"{_ROTATION}/roll-back", rotation_views.RollBackView.as_view(), name="api-rotation-roll-back"),
    path(f"{_ROTATION}/abandon", rotation_views.AbandonView.as_view(), name="api-rotation-abandon"),
    path(f"{_ROTATION}/retire", rotation_views.RetireView.as_view(), name="api-rotation-retire"),
    path(f"{_ROTATION}/cut-grace", rotation_views.CutGraceView.as_view(), name="api-rotation-cut-grace"),
    path("exposure", exposure_views.ExposureView.as_view(), name="api-exposure"),
    path("secrets/<int:id>/acknowledge", rotation_views.AcknowledgeView.as_view(), name="api-acknowledge"),
]
