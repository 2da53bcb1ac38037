"""The addresses of the secret pages."""

from django.urls import path

from secrets_app import (
    bulk_pages,
    comparison_pages,
    diff_pages,
    editing_pages,
    offboarding_pages,
    retirement_pages,
    share_pages,
    sweep_pages,
    transfer_pages,
    views,
)
from secrets_app import notification_pages as notices

urlpatterns = [
    path("integrity", sweep_pages.integrity, name="integrity"),
    path("integrity/sweep", sweep_pages.sweep_start, name="sweep-start"),
    path("people/<str:username>/offboarding", offboarding_pages.offboarding, name="offboarding"),
    path("people/<str:username>/offboard", offboarding_pages.offboard_person, name="offboard"),
    path("secrets", views.secret_list, name="secret-list"),
    path("secrets/new", editing_pages.secret_new, name="secret-new"),
    path("secrets/generate", editing_pages.secret_generate, name="secret-generate"),
    path("secrets/search", views.secret_search, name="secret-search"),
    path("secrets/bulk", bulk_pages.secret_bulk, name="secret-bulk"),
    path("secrets/import", transfer_pages.secret_import, name="secret-import"),
    path("secrets/export", transfer_pages.secret_export, name="secret-export"),
    path("secrets/<int:id>/diff", diff_pages.secret_diff, name="secret-diff"),
    path("secrets/<int:id>/share", share_pages.secret_share, name="secret-share"),
    path("secrets/<int:id>/shares/<int:share>/revoke", share_pages.share_revoke, name="share-revoke"),
    path("shared/<str:link>", share_pages.shared, name="share"),
    path("compare", comparison_pages.environment_compare, name="environment-compare"),
    path("secrets/<int:id>", views.secret_detail, name="secret-detail"),
    path("secrets/<int:id>/reveal", views.secret_reveal, name="secret-reveal"),
    path("secrets/<int:id>/copy", views.secret_copy, name="secret-copy"),
    path("secrets/<int:id>/edit", editing_pages.secret_edit, name="secret-edit"),
    path("secrets/<int:id>/rollback", editing_pages.secret_rollback, name="secret-rollback"),
    path("secrets/<int:id>/delete", retirement_pages.secret_delete, name="secret-delete"),
    path("secrets/<int:id>/restore", retirement_pages.secret_restore, name="secret-restore"),
    path("secrets/<int:id>/purge", retirement_pages.secret_purge, name="secret-purge"),
    path("environments/<str:name>/notifications", notices.notifications, name="notifications"),
    path("environments/<str:name>/recipients", notices.recipient_add, name="recipient-add"),
    path(
        "environments/<str:name>/recipients/<int:id>/remove",
        notices.recipient_remove,
        name="recipient-remove",
    ),
    path("environments/<str:name>/recipients/<int:id>/test", notices.recipient_test, name="recipient-test"),
    path("environments/<str:name>/webhooks", notices.webhook_add, name="webhook-add"),
    path("environments/<str:name>/webhooks/<int:id>/remove", notices.webhook_remove, name="webhook-remove"),
    path("environments/<str:name>/webhooks/<int:id>/test", notices.webhook_test, name="webhook-test"),
]
