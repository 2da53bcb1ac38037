"""The addresses of the secret pages."""

from django.urls import path

from environments_app.models import Recipient
from secrets_app.models import Webhook
from secrets_app.views import compare as compare_views
from secrets_app.views import delete_restore as delete_restore_views
from secrets_app.views import edit as edit_views
from secrets_app.views import integrity as integrity_views
from secrets_app.views import naming as naming_views
from secrets_app.views import notifications as notices
from secrets_app.views import offboarding as offboarding_views
from secrets_app.views import secrets as secrets_views
from secrets_app.views import share as share_views
from secrets_app.views import version_diff as version_diff_views
from secrets_app.views.listing import matrix as matrix_views
from secrets_app.views.listing import page as listing_views
from secrets_app.views.many_secrets import bulk as bulk_views
from secrets_app.views.many_secrets import import_export as import_export_views
from secrets_app.views.many_secrets import table as table_views

urlpatterns = [
    path("integrity", integrity_views.integrity, name="integrity"),
    path("integrity/sweep", integrity_views.sweep_start, name="sweep-start"),
    path("people/<str:username>/offboarding", offboarding_views.offboarding, name="offboarding"),
    path("people/<str:username>/offboard", offboarding_views.offboard_person, name="offboard"),
    path("secrets", listing_views.secret_list, name="secret-list"),
    path("secrets/matrix", matrix_views.secret_matrix, name="secret-matrix"),
    path("secrets/new", edit_views.secret_new, name="secret-new"),
    path("secrets/generate", edit_views.secret_generate, name="secret-generate"),
    path("secrets/check", edit_views.secret_check, name="secret-check"),
    path("secrets/search", listing_views.secret_search, name="secret-search"),
    path("secrets/bulk", bulk_views.secret_bulk, name="secret-bulk"),
    path("secrets/table", table_views.secret_table, name="secret-table"),
    path("secrets/import", import_export_views.secret_import, name="secret-import"),
    path("secrets/export", import_export_views.secret_export, name="secret-export"),
    path("secrets/<int:id>/diff", version_diff_views.secret_diff, name="secret-diff"),
    path("secrets/<int:id>/share", share_views.secret_share, name="secret-share"),
    path("secrets/<int:id>/shares/<int:share>/revoke", share_views.share_revoke, name="share-revoke"),
    path("shared/<str:link>", share_views.shared, name="share"),
    path("compare", compare_views.environment_compare, name="environment-compare"),
    path("secrets/<int:id>", secrets_views.secret_detail, name="secret-detail"),
    path("secrets/<int:id>/reveal", secrets_views.secret_reveal, name="secret-reveal"),
    path("secrets/<int:id>/copy", secrets_views.secret_copy, name="secret-copy"),
    path("secrets/<int:id>/edit", edit_views.secret_edit, name="secret-edit"),
    path("secrets/<int:id>/star", naming_views.secret_star, name="secret-star"),
    path("secrets/<int:id>/rename", naming_views.secret_rename, name="secret-rename"),
    path("secrets/<int:id>/duplicate", naming_views.secret_duplicate, name="secret-duplicate"),
    path("secrets/<int:id>/rollback", edit_views.secret_rollback, name="secret-rollback"),
    path("secrets/<int:id>/delete", delete_restore_views.secret_delete, name="secret-delete"),
    path("secrets/<int:id>/restore", delete_restore_views.secret_restore, name="secret-restore"),
    path("secrets/<int:id>/purge", delete_restore_views.secret_purge, name="secret-purge"),
    path("environments/<str:name>/notifications", notices.notifications, name="notifications"),
    path("environments/<str:name>/recipients", notices.recipient_add, name="recipient-add"),
    path(
        "environments/<str:name>/recipients/<int:id>/remove",
        notices.addressee_remove,
        {"model": Recipient},
        name="recipient-remove",
    ),
    path(
        "environments/<str:name>/recipients/<int:id>/test",
        notices.addressee_test,
        {"model": Recipient},
        name="recipient-test",
    ),
    path("environments/<str:name>/webhooks", notices.webhook_add, name="webhook-add"),
    path(
        "environments/<str:name>/webhooks/<int:id>/remove",
        notices.addressee_remove,
        {"model": Webhook},
        name="webhook-remove",
    ),
    path(
        "environments/<str:name>/webhooks/<int:id>/test",
        notices.addressee_test,
        {"model": Webhook},
        name="webhook-test",
    ),
]
