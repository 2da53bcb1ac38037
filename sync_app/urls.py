"""The addresses of the sync pages."""

from django.urls import path

from sync_app import consent_views, exposure_pages, plan_views, rotation_form_pages, rotation_pages, views
from sync_app import target_form_views as form_views

urlpatterns = [
    path("sync", views.sync_list, name="sync"),
    path("sync/pause", views.pause_all, name="sync-pause"),
    path("sync/resume", views.resume_all, name="sync-resume"),
    path("sync/new", form_views.target_new, name="target-new"),
    path("sync/<int:id>", views.target_detail, name="target-detail"),
    path("sync/<int:id>/rules", form_views.target_rules, name="target-rules"),
    path("sync/<int:id>/credentials", form_views.target_credentials, name="target-credentials"),
    path("sync/<int:id>/test", form_views.target_test, name="target-test"),
    path("sync/<int:id>/pause", views.target_pause, name="target-pause"),
    path("sync/<int:id>/resume", views.target_resume, name="target-resume"),
    path("sync/<int:id>/remove", views.target_remove, name="target-remove"),
    path("sync/<int:id>/plan", plan_views.target_plan, name="target-plan"),
    path("sync/<int:id>/sync", plan_views.target_sync, name="target-sync"),
    path("sync/<int:id>/check", plan_views.target_check, name="target-check"),
    path("sync/<int:id>/adopt", plan_views.target_adopt, name="target-adopt"),
    path("sync/<int:id>/disconnect", plan_views.target_disconnect, name="target-disconnect"),
    path("sync/plans/<int:id>", plan_views.plan_detail, name="plan-detail"),
    path("sync/plans/<int:id>/apply", plan_views.plan_apply, name="plan-apply"),
    path("sync/plans/<int:id>/again", plan_views.plan_again, name="plan-again"),
    path("environments/<str:name>/consents", consent_views.consent_list, name="consents"),
    path("environments/<str:name>/consents/give", consent_views.consent_give, name="consent-give"),
    path(
        "environments/<str:name>/consents/<int:id>/withdraw",
        consent_views.consent_withdraw,
        name="consent-withdraw",
    ),
    path("sync/plans/<int:id>/items/<int:item>", plan_views.plan_item, name="plan-item"),
    path(
        "sync/plans/<int:id>/items/<int:item>/members",
        plan_views.plan_item_members,
        name="plan-item-members",
    ),
    path("rotation", rotation_pages.rotation_list, name="rotation"),
    path("rotation/exposure", exposure_pages.exposure, name="exposure"),
    path("rotation/secrets/<int:id>/new", rotation_form_pages.policy_new, name="rotation-new"),
    path("rotation/<int:id>", rotation_pages.policy_detail, name="rotation-policy"),
    path("rotation/<int:id>/rules", rotation_form_pages.policy_rules, name="rotation-rules"),
    path("rotation/<int:id>/connection", rotation_form_pages.policy_connection, name="rotation-connection"),
    path("rotation/<int:id>/rotate", rotation_pages.policy_rotate, name="rotation-rotate"),
    path("rotation/<int:id>/dry-run", rotation_pages.policy_rehearse, name="rotation-dry-run"),
    path("rotation/<int:id>/suspend", rotation_pages.policy_suspend, name="rotation-suspend"),
    path("rotation/<int:id>/resume", rotation_pages.policy_resume, name="rotation-resume"),
    path("rotation/<int:id>/remove", rotation_pages.policy_remove, name="rotation-remove"),
    path("rotation/rotations/<int:id>/<slug:act>", rotation_pages.rotation_act, name="rotation-act"),
]
