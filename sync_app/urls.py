"""The addresses of sync: its pages, and its API under /api/."""

from django.urls import path

from sync_app.api import consents as consents_api
from sync_app.api import exposure as exposure_api
from sync_app.api import plans as plans_api
from sync_app.api import rotation as rotation_api
from sync_app.api import targets as targets_api
from sync_app.views import consents as consents_views
from sync_app.views import exposure as exposure_views
from sync_app.views import plans as plans_views
from sync_app.views import rotation as rotation_views
from sync_app.views import rotation_forms as rotation_forms_views
from sync_app.views import target_forms as form_views
from sync_app.views import targets as targets_views

_ENVIRONMENT = "environments/<str:environment>"
_TARGETS = f"{_ENVIRONMENT}/targets"
_TARGET = f"{_TARGETS}/<int:id>"
_PLAN = f"{_ENVIRONMENT}/plans/<int:id>"
_POLICIES = f"{_ENVIRONMENT}/rotation-policies"
_POLICY = f"{_POLICIES}/<int:id>"
_ROTATION = f"{_ENVIRONMENT}/rotations/<int:id>"

API = [
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
urlpatterns = [
    path("sync", targets_views.sync_list, name="sync"),
    path("sync/overview", targets_views.sync_overview, name="sync-overview"),
    path("sync/pause", targets_views.pause_all, name="sync-pause"),
    path("sync/resume", targets_views.resume_all, name="sync-resume"),
    path("sync/new", form_views.target_new, name="target-new"),
    path("sync/<int:id>", targets_views.target_detail, name="target-detail"),
    path("sync/<int:id>/rules", form_views.target_rules, name="target-rules"),
    path("sync/<int:id>/credentials", form_views.target_credentials, name="target-credentials"),
    path("sync/<int:id>/system", form_views.target_system, name="target-system"),
    path("sync/<int:id>/test", form_views.target_test, name="target-test"),
    path("sync/<int:id>/pause", targets_views.target_pause, name="target-pause"),
    path("sync/<int:id>/resume", targets_views.target_resume, name="target-resume"),
    path("sync/<int:id>/remove", targets_views.target_remove, name="target-remove"),
    path("sync/<int:id>/plan", plans_views.target_plan, name="target-plan"),
    path("sync/<int:id>/sync", plans_views.target_sync, name="target-sync"),
    path("sync/<int:id>/check", plans_views.target_check, name="target-check"),
    path("sync/<int:id>/adopt", plans_views.target_adopt, name="target-adopt"),
    path("sync/<int:id>/disconnect", plans_views.target_disconnect, name="target-disconnect"),
    path("sync/plans/<int:id>", plans_views.plan_detail, name="plan-detail"),
    path("sync/plans/<int:id>/apply", plans_views.plan_apply, name="plan-apply"),
    path("sync/plans/<int:id>/again", plans_views.plan_again, name="plan-again"),
    path("environments/<str:name>/consents", consents_views.consent_list, name="consents"),
    path("environments/<str:name>/consents/give", consents_views.consent_give, name="consent-give"),
    path(
        "environments/<str:name>/consents/<int:id>/withdraw",
        consents_views.consent_withdraw,
        name="consent-withdraw",
    ),
    path("sync/plans/<int:id>/items/<int:item>", plans_views.plan_item, name="plan-item"),
    path(
        "sync/plans/<int:id>/items/<int:item>/members",
        plans_views.plan_item_members,
        name="plan-item-members",
    ),
    path("rotation", rotation_views.rotation_list, name="rotation"),
    path("rotation/exposure", exposure_views.exposure, name="exposure"),
    path("rotation/secrets/<int:id>/new", rotation_forms_views.policy_new, name="rotation-new"),
    path("rotation/<int:id>", rotation_views.policy_detail, name="rotation-policy"),
    path("rotation/<int:id>/rules", rotation_forms_views.policy_rules, name="rotation-rules"),
    path("rotation/<int:id>/connection", rotation_forms_views.policy_connection, name="rotation-connection"),
    path("rotation/<int:id>/rotate", rotation_views.policy_rotate, name="rotation-rotate"),
    path("rotation/<int:id>/dry-run", rotation_views.policy_rehearse, name="rotation-dry-run"),
    path("rotation/<int:id>/logins", rotation_views.policy_logins, name="rotation-logins"),
    path("rotation/<int:id>/align", rotation_views.policy_align, name="rotation-align"),
    path("rotation/<int:id>/suspend", rotation_views.policy_suspend, name="rotation-suspend"),
    path("rotation/<int:id>/resume", rotation_views.policy_resume, name="rotation-resume"),
    path("rotation/<int:id>/remove", rotation_views.policy_remove, name="rotation-remove"),
    path("rotation/rotations/<int:id>/<slug:act>", rotation_views.rotation_act, name="rotation-act"),
]
