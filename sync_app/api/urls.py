"""The routes of sync, under /api/."""

from django.urls import path

from sync_app.api import consents as consents_api
from sync_app.api import exposure as exposure_api
from sync_app.api import plans as plans_api
from sync_app.api import rotation as rotation_api
from sync_app.api import targets as targets_api

_ENVIRONMENT = "environments/<str:environment>"
_TARGETS = f"{_ENVIRONMENT}/targets"
_TARGET = f"{_TARGETS}/<int:id>"
_PLAN = f"{_ENVIRONMENT}/plans/<int:id>"
_POLICIES = f"{_ENVIRONMENT}/rotation-policies"
_POLICY = f"{_POLICIES}/<int:id>"
_ROTATION = f"{_ENVIRONMENT}/rotations/<int:id>"

urlpatterns = [
    path(f"{_ENVIRONMENT}/deliveries", targets_api.DeliveryListView.as_view(), name="api-deliveries"),
    path(_TARGETS, targets_api.TargetListView.as_view(), name="api-targets"),
    path(f"{_TARGETS}/test", targets_api.DraftTestView.as_view(), name="api-targets-test"),
    path(_TARGET, targets_api.TargetView.as_view(), name="api-target"),
    path(f"{_TARGET}/test", targets_api.TestView.as_view(), name="api-target-test"),
    path(f"{_TARGET}/pause", targets_api.PauseView.as_view(), name="api-target-pause"),
    path(f"{_TARGET}/resume", targets_api.ResumeView.as_view(), name="api-target-resume"),
    path(f"{_TARGET}/credentials", targets_api.CredentialsView.as_view(), name="api-target-credentials"),
    path(f"{_TARGET}/system", targets_api.SystemView.as_view(), name="api-target-system"),
    path(f"{_TARGET}/plan", targets_api.PlanRequestView.as_view(), name="api-target-plan"),
    path(f"{_TARGET}/sync", targets_api.SyncNowView.as_view(), name="api-target-sync"),
    path(f"{_TARGET}/adopt", targets_api.AdoptView.as_view(), name="api-target-adopt"),
    path(f"{_TARGET}/disconnect", targets_api.DisconnectView.as_view(), name="api-target-disconnect"),
    path(f"{_TARGET}/entries", targets_api.EntryListView.as_view(), name="api-target-entries"),
    path(f"{_TARGET}/plans", targets_api.TargetPlanListView.as_view(), name="api-target-plans"),
    path(f"{_TARGET}/runs", targets_api.RunListView.as_view(), name="api-target-runs"),
    path(f"{_ENVIRONMENT}/consents", consents_api.ConsentListView.as_view(), name="api-consents"),
    path(f"{_ENVIRONMENT}/consents/<int:id>", consents_api.ConsentView.as_view(), name="api-consent"),
    path(_PLAN, plans_api.PlanView.as_view(), name="api-plan"),
    path(f"{_PLAN}/items", plans_api.ItemListView.as_view(), name="api-plan-items"),
    path(f"{_PLAN}/apply", plans_api.ApplyView.as_view(), name="api-plan-apply"),
    path(f"{_PLAN}/items/<int:item>/members", plans_api.MembersView.as_view(), name="api-plan-members"),
    path(f"{_PLAN}/items/<int:item>/resolve", plans_api.ResolveView.as_view(), name="api-plan-resolve"),
    path(_POLICIES, rotation_api.PolicyListView.as_view(), name="api-rotation-policies"),
    path(_POLICY, rotation_api.PolicyView.as_view(), name="api-rotation-policy"),
    path(f"{_POLICY}/credentials", rotation_api.ConnectionView.as_view(), name="api-rotation-credentials"),
    path(f"{_POLICY}/suspend", rotation_api.SuspendView.as_view(), name="api-rotation-suspend"),
    path(f"{_POLICY}/resume", rotation_api.ResumePolicyView.as_view(), name="api-rotation-resume"),
    path(f"{_POLICY}/rotate", rotation_api.RotateView.as_view(), name="api-rotate"),
    path(f"{_POLICY}/dry-run", rotation_api.RehearseView.as_view(), name="api-rotation-dry-run"),
    path(f"{_POLICY}/logins", rotation_api.LoginsView.as_view(), name="api-rotation-logins"),
    path(f"{_POLICY}/align-logins", rotation_api.AlignView.as_view(), name="api-rotation-align"),
    path(f"{_POLICY}/rotations", rotation_api.RotationListView.as_view(), name="api-rotations"),
    path(_ROTATION, rotation_api.OneRotationView.as_view(), name="api-rotation"),
    *(
        path(f"{_ROTATION}/{act}", view.as_view(), name=f"api-rotation-{act}")
        for act, view in rotation_api.DECISION_VIEWS.items()
    ),
    path("exposure", exposure_api.ExposureView.as_view(), name="api-exposure"),
    path("secrets/<int:id>/acknowledge", rotation_api.AcknowledgeView.as_view(), name="api-acknowledge"),
]
