"""The addresses of secrets: their pages, and their API under /api/."""

from django.urls import path, register_converter

from environments_app.models import Recipient
from secrets_app.api import bulk as bulk_api
from secrets_app.api import bulk as imports_api
from secrets_app.api import departures as departures_api
from secrets_app.api import emergency as emergency_api
from secrets_app.api import environment_secrets as environment_secrets_api
from secrets_app.api import environment_secrets as manifests_api
from secrets_app.api import offboarding as offboarding_api
from secrets_app.api import releases as releases_api
from secrets_app.api import secrets as secrets_api
from secrets_app.api import webhooks as webhooks_api
from secrets_app.models import Webhook
from secrets_app.views import bulk as bulk_views
from secrets_app.views import clone as clone_views
from secrets_app.views import departures as departure_views
from secrets_app.views import edit as edit_views
from secrets_app.views import emergency as emergency_views
from secrets_app.views import environment_deletion as deletion_views
from secrets_app.views import import_export as import_export_views
from secrets_app.views import integrity as integrity_views
from secrets_app.views import lifecycle as lifecycle_views
from secrets_app.views import listing as listing_views
from secrets_app.views import matrix as matrix_views
from secrets_app.views import notifications as notices
from secrets_app.views import offboarding as offboarding_views
from secrets_app.views import releases as releases_views
from secrets_app.views import secrets as secrets_views
from secrets_app.views import share as share_views
from secrets_app.views import version_diff as version_diff_views


class IdConverter:
    """A bigint id; longer numbers lead nowhere instead of into the database driver."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


register_converter(IdConverter, "id")

_ENVIRONMENT = "environments/<str:environment>"

API = [
    path(
        "users/<str:username>/offboarding", offboarding_api.OffboardingView.as_view(), name="api-offboarding"
    ),
    path("emergency-reads", emergency_api.EmergencyReadListView.as_view(), name="api-emergency-reads"),
    path("emergency-reads/<uuid:uuid>", emergency_api.EmergencyReadView.as_view(), name="api-emergency-read"),
    path(
        "emergency-reads/<uuid:uuid>/review",
        emergency_api.EmergencyReviewView.as_view(),
        name="api-emergency-review",
    ),
    path("departures", departures_api.DepartureListView.as_view(), name="api-departures"),
    path("departures/<id:id>", departures_api.DepartureView.as_view(), name="api-departure"),
    path("departures/<id:id>/close", departures_api.DepartureCloseView.as_view(), name="api-departure-close"),
    path(
        "departures/<id:id>/continue",
        departures_api.DepartureContinueView.as_view(),
        name="api-departure-continue",
    ),
    path(
        "departures/<id:id>/outlets/<uuid:uuid>/keep",
        departures_api.OutletKeepView.as_view(),
        name="api-departure-outlet-keep",
    ),
    path(
        "departures/<id:id>/outlets/<uuid:uuid>/mark",
        departures_api.OutletMarkView.as_view(),
        name="api-departure-outlet-mark",
    ),
    path(
        "departures/values/<id:id>/keep",
        departures_api.ValueKeepView.as_view(),
        name="api-departure-value-keep",
    ),
    path(
        "departures/values/<id:id>/assign",
        departures_api.ValueAssignView.as_view(),
        name="api-departure-value-assign",
    ),
    path("secrets", secrets_api.SecretListView.as_view(), name="api-secrets"),
    path("secrets/bulk", bulk_api.BulkView.as_view(), name="api-secrets-bulk"),
    path("secrets/generate", secrets_api.GenerateView.as_view(), name="api-secrets-generate"),
    path("secrets/<id:id>", secrets_api.SecretView.as_view(), name="api-secret"),
    *(
        path(f"secrets/<id:id>/{name}", view.as_view(), name=f"api-secret-{name}")
        for name, view in secrets_api.ACT_VIEWS.items()
    ),
    path("secrets/<id:id>/versions", secrets_api.VersionListView.as_view(), name="api-versions"),
    path("secrets/<id:id>/versions/<id:number>", secrets_api.VersionView.as_view(), name="api-version"),
    path(
        f"{_ENVIRONMENT}/secrets/<path:name>",
        environment_secrets_api.NamedSecretView.as_view(),
        name="api-named-secret",
    ),
    path(f"{_ENVIRONMENT}/export", environment_secrets_api.ExportView.as_view(), name="api-export"),
    path(f"{_ENVIRONMENT}/manifest", manifests_api.ManifestView.as_view(), name="api-manifest"),
    path(f"{_ENVIRONMENT}/import", imports_api.ImportView.as_view(), name="api-import"),
    path(
        f"{_ENVIRONMENT}/compare/<str:other>",
        environment_secrets_api.CompareView.as_view(),
        name="api-compare",
    ),
    path(f"{_ENVIRONMENT}/releases", releases_api.ReleaseListView.as_view(), name="api-releases"),
    path(f"{_ENVIRONMENT}/releases/<id:id>", releases_api.ReleaseView.as_view(), name="api-release"),
    path(f"{_ENVIRONMENT}/webhooks", webhooks_api.WebhookListView.as_view(), name="api-webhooks"),
    path(f"{_ENVIRONMENT}/webhooks/<id:id>", webhooks_api.WebhookView.as_view(), name="api-webhook"),
    path(
        f"{_ENVIRONMENT}/webhooks/<id:id>/test",
        webhooks_api.WebhookTestView.as_view(),
        name="api-webhook-test",
    ),
]
urlpatterns = [
    path("integrity", integrity_views.integrity, name="integrity"),
    path("integrity/sweep", integrity_views.sweep_start, name="sweep-start"),
    path("people/<str:username>/offboarding", offboarding_views.offboarding, name="offboarding"),
    path("people/<str:username>/offboard", offboarding_views.offboard_person, name="offboard"),
    path("departures", departure_views.departure_list, name="departures"),
    path("departures/<id:id>", departure_views.departure, name="departure"),
    path("departures/<id:id>/close", departure_views.departure_close, name="departure-close"),
    path("departures/<id:id>/continue", departure_views.departure_continue, name="departure-continue"),
    path(
        "departures/<id:id>/outlets/<uuid:uuid>/keep",
        departure_views.outlet_keep,
        name="departure-outlet-keep",
    ),
    path(
        "departures/<id:id>/outlets/<uuid:uuid>/mark",
        departure_views.outlet_mark,
        name="departure-outlet-mark",
    ),
    path("departures/values/<id:id>/keep", departure_views.value_keep, name="departure-value-keep"),
    path("departures/values/<id:id>/assign", departure_views.value_assign, name="departure-value-assign"),
    path("secrets", listing_views.secret_list, name="secret-list"),
    path("secrets/matrix", matrix_views.secret_matrix, name="secret-matrix"),
    path("secrets/matrix/row", matrix_views.secret_row, name="secret-row"),
    path("secrets/new", edit_views.secret_new, name="secret-new"),
    path("secrets/generate", edit_views.secret_generate, name="secret-generate"),
    path("secrets/check", edit_views.secret_check, name="secret-check"),
    path("secrets/search", listing_views.secret_search, name="secret-search"),
    path("secrets/bulk", bulk_views.secret_bulk, name="secret-bulk"),
    # Pages of earlier releases, whose work the matrix does.
    path("compare", matrix_views.moved, {"page": "compare"}, name="moved-compare"),
    path("secrets/table", matrix_views.moved, {"page": "table"}, name="moved-table"),
    path("secrets/import", import_export_views.secret_import, name="secret-import"),
    path("secrets/export", import_export_views.secret_export, name="secret-export"),
    path("secrets/<int:id>/diff", version_diff_views.secret_diff, name="secret-diff"),
    path("secrets/<int:id>/share", share_views.secret_share, name="secret-share"),
    path("secrets/<int:id>/shares/<int:share>/revoke", share_views.share_revoke, name="share-revoke"),
    path("shared", share_views.outside, name="share-outside"),
    path("shared/<str:link>", share_views.shared, name="share"),
    path("secrets/<int:id>", secrets_views.secret_detail, name="secret-detail"),
    path("secrets/<int:id>/reveal", secrets_views.secret_reveal, name="secret-reveal"),
    path(
        "secrets/<int:id>/emergency-read",
        emergency_views.secret_emergency_read,
        name="secret-emergency-read",
    ),
    path("emergency-reads", emergency_views.emergency_reads, name="emergency-reads"),
    path("emergency-reads/<uuid:uuid>", emergency_views.emergency_read, name="emergency-read"),
    path("emergency-reads/<uuid:uuid>/close", emergency_views.emergency_close, name="emergency-close"),
    path("secrets/<int:id>/copy", secrets_views.secret_copy, name="secret-copy"),
    path("secrets/<int:id>/edit", edit_views.secret_edit, name="secret-edit"),
    path("secrets/<int:id>/star", lifecycle_views.secret_star, name="secret-star"),
    path("secrets/<int:id>/rename", lifecycle_views.secret_rename, name="secret-rename"),
    path("secrets/<int:id>/duplicate", lifecycle_views.secret_duplicate, name="secret-duplicate"),
    *(
        path(f"secrets/<int:id>/{name}", page, name=f"secret-{name}")
        for name, page in lifecycle_views.ACT_PAGES.items()
    ),
    path("environments/<str:name>/releases/new", releases_views.release_new, name="release-new"),
    path("environments/<str:name>/releases/<int:id>/end", releases_views.release_end, name="release-end"),
    path("environments/<str:name>/delete", deletion_views.environment_delete, name="environment-delete"),
    path("deleted-environments", deletion_views.deleted_environments, name="deleted-environments"),
    path(
        "deleted-environments/<str:name>/restore",
        deletion_views.environment_restore,
        name="environment-restore",
    ),
    path("environments/<str:name>/clone", clone_views.environment_clone, name="environment-clone"),
    path("environments/<str:name>/notifications", notices.notifications, name="notifications"),
    path("environments/<str:name>/recipients", notices.recipient_add, name="recipient-add"),
    path("environments/<str:name>/webhooks", notices.webhook_add, name="webhook-add"),
    path("environments/<str:name>/messages/<int:id>/retry", notices.retry, name="message-retry"),
    *(
        path(f"environments/<str:name>/{noun}s/<int:id>/{act}", page, {"model": model}, name=f"{noun}-{act}")
        for noun, model in (("recipient", Recipient), ("webhook", Webhook))
        for act, page in notices.ACT_PAGES.items()
    ),
]
