"""The addresses of sync: its pages, and its API under /api/."""

from django.urls import path

from sync_app.api import consents as consents_api
from sync_app.api import exposure as exposure_api
from sync_app.api import leaks as leaks_api
from sync_app.api import plans as plans_api
from sync_app.api import rotation as rotation_api
from sync_app.api import targets as targets_api
from sync_app.api import usage as usage_api
from sync_app.views import consents as consents_views
from sync_app.views import exposure as exposure_views
from sync_app.views import leaks as leaks_views
from sync_app.views import migrations as migration_views
from sync_app.views import plans as plans_views
from sync_app.views import rotation as rotation_views
from sync_app.views import rotation_forms as rotation_forms_views
from sync_app.views import target_forms as form_views
from sync_app.views import targets as targets_views
from sync_app.views import usage as usage_views

_ENVIRONMENT = "environments/<str:environment>"
_TARGETS = f"{_ENVIRONMENT}/targets"
_TARGET = f"{_TARGETS}/<int:id>"
_PLAN = f"{_ENVIRONMENT}/plans/<int:id>"
_POLICIES = f"{_ENVIRONMENT}/rotation-policies"
_POLICY = f"{_POLICIES}/<int:id>"
_ROTATION = f"{_ENVIRONMENT}/rotations/<int:id>"
# Where the address or the name is not that of the act.
_PATHS = {"align": "align-logins"}
_NAMES = {"rotate": "api-rotate"}

API = [
    path(f"{_ENVIRONMENT}/deliveries", targets_api.DeliveryListView.as_view(), name="api-deliveries"),
    path(_TARGETS, targets_api.TargetListView.as_view(), name="api-targets"),
    path(f"{_TARGETS}/test", targets_api.DraftTestView.as_view(), name="api-targets-test"),
    path(_TARGET, targets_api.TargetView.as_view(), name="api-target"),
    *(
        path(f"{_TARGET}/{act}", view.as_view(), name=f"api-target-{act}")
        for act, view in targets_api.ACT_VIEWS.items()
    ),
    path(f"{_TARGET}/entries", targets_api.EntryListView.as_view(), name="api-target-entries"),
    path(f"{_TARGET}/plans", targets_api.TargetPlanListView.as_view(), name="api-target-plans"),
    path(f"{_TARGET}/runs", targets_api.RunListView.as_view(), name="api-target-runs"),
    path(f"{_ENVIRONMENT}/consents", consents_api.ConsentListView.as_view(), name="api-consents"),
    path(f"{_ENVIRONMENT}/consents/<int:id>", consents_api.ConsentView.as_view(), name="api-consent"),
    path(_PLAN, plans_api.PlanView.as_view(), name="api-plan"),
    path(f"{_PLAN}/items", plans_api.ItemListView.as_view(), name="api-plan-items"),
    *(
        path(f"{_PLAN}/{act}", view.as_view(), name=f"api-plan-{act}")
        for act, view in plans_api.ACT_VIEWS.items()
    ),
    path(f"{_PLAN}/items/<int:item>/members", plans_api.MembersView.as_view(), name="api-plan-members"),
    *(
        path(f"{_PLAN}/items/<int:item>/{act}", view.as_view(), name=f"api-plan-{act}")
        for act, view in plans_api.ITEM_ACT_VIEWS.items()
    ),
    path(_POLICIES, rotation_api.PolicyListView.as_view(), name="api-rotation-policies"),
    path(_POLICY, rotation_api.PolicyView.as_view(), name="api-rotation-policy"),
    *(
        path(f"{_POLICY}/{_PATHS.get(act, act)}", view.as_view(), name=_NAMES.get(act, f"api-rotation-{act}"))
        for act, view in rotation_api.POLICY_ACT_VIEWS.items()
    ),
    path(f"{_POLICY}/rotations", rotation_api.RotationListView.as_view(), name="api-rotations"),
    path(_ROTATION, rotation_api.OneRotationView.as_view(), name="api-rotation"),
    *(
        path(f"{_ROTATION}/{act}", view.as_view(), name=f"api-rotation-{act}")
        for act, view in rotation_api.ROTATION_ACT_VIEWS.items()
    ),
    path("leaked", leaks_api.LeakView.as_view(), name="api-leaked"),
    path("exposure", exposure_api.ExposureView.as_view(), name="api-exposure"),
    path("secrets/<int:id>/usage", usage_api.UsageView.as_view(), name="api-secret-usage"),
    path("secrets/<int:id>/impact", usage_api.ImpactView.as_view(), name="api-secret-impact"),
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
    *(
        path(f"sync/<int:id>/{act}", page, name=f"target-{act}")
        for act, page in targets_views.ACT_PAGES.items()
    ),
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
    path("secrets/<int:id>/usage", usage_views.secret_usage, name="secret-usage"),
    path("migrations", migration_views.migration_list, name="migrations"),
    path("migrations/new", migration_views.migration_new, name="migration-new"),
    path("migrations/<int:id>", migration_views.migration_detail, name="migration-detail"),
    path("migrations/<int:id>/<slug:act>", migration_views.migration_act, name="migration-act"),
    path("rotation", rotation_views.rotation_list, name="rotation"),
    path("rotation/exposure", exposure_views.exposure, name="exposure"),
    path("rotation/leaked", leaks_views.leaked, name="leaked"),
    path("rotation/secrets/<int:id>/new", rotation_forms_views.policy_new, name="rotation-new"),
    path("rotation/<int:id>", rotation_views.policy_detail, name="rotation-policy"),
    path("rotation/<int:id>/rules", rotation_forms_views.policy_rules, name="rotation-rules"),
    path("rotation/<int:id>/connection", rotation_forms_views.policy_connection, name="rotation-connection"),
    path("rotation/<int:id>/dry-run", rotation_views.policy_rehearse, name="rotation-dry-run"),
    path("rotation/<int:id>/logins", rotation_views.policy_logins, name="rotation-logins"),
    path("rotation/<int:id>/align", rotation_views.policy_align, name="rotation-align"),
    *(
        path(f"rotation/<int:id>/{act}", page, name=f"rotation-{act}")
        for act, page in rotation_views.ACT_PAGES.items()
    ),
    path("rotation/rotations/<int:id>/<slug:act>", rotation_views.rotation_act, name="rotation-act"),
]
