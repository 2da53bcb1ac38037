"""The addresses of the sync pages."""

from django.urls import path

from sync_app.views import consents as consents_views
from sync_app.views import exposure as exposure_views
from sync_app.views import plans as plans_views
from sync_app.views import rotation as rotation_views
from sync_app.views import rotation_forms as rotation_forms_views
from sync_app.views import target_forms as form_views
from sync_app.views import targets as targets_views

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
