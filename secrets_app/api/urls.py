"""The routes of secrets, under /api/."""

from django.urls import path, register_converter

from secrets_app.api import environment_views, import_views, offboarding_views, views, webhook_views


class IdConverter:
    """A bigint id; longer numbers lead nowhere instead of into the database driver."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        """Return the id."""
        return int(value)

    def to_url(self, value: int) -> str:
        """Return the id as a part of a path."""
        return str(value)


register_converter(IdConverter, "id")

urlpatterns = [
    path(
        "users/<str:username>/offboarding",
        offboarding_views.OffboardingView.as_view(),
        name="api-offboarding",
    ),
    path("secrets", views.SecretListView.as_view(), name="api-secrets"),
    path("secrets/bulk", views.BulkView.as_view(), name="api-secrets-bulk"),
    path("secrets/generate", views.GenerateView.as_view(), name="api-secrets-generate"),
    path("secrets/<id:id>", views.SecretView.as_view(), name="api-secret"),
    path("secrets/<id:id>/restore", views.RestoreView.as_view(), name="api-secret-restore"),
    path("secrets/<id:id>/purge", views.PurgeView.as_view(), name="api-secret-purge"),
    path("secrets/<id:id>/rollback", views.RollbackView.as_view(), name="api-secret-rollback"),
    path("secrets/<id:id>/rename", views.RenameView.as_view(), name="api-secret-rename"),
    path("secrets/<id:id>/copy", views.CopyView.as_view(), name="api-secret-copy"),
    path("secrets/<id:id>/move", views.MoveView.as_view(), name="api-secret-move"),
    path("secrets/<id:id>/versions", views.VersionListView.as_view(), name="api-versions"),
    path("secrets/<id:id>/versions/<id:number>", views.VersionView.as_view(), name="api-version"),
    path(
        "environments/<str:environment>/secrets/<path:name>",
        environment_views.NamedSecretView.as_view(),
        name="api-named-secret",
    ),
    path("environments/<str:environment>/export", environment_views.ExportView.as_view(), name="api-export"),
    path("environments/<str:environment>/import", import_views.ImportView.as_view(), name="api-import"),
    path(
        "environments/<str:environment>/compare/<str:other>",
        environment_views.CompareView.as_view(),
        name="api-compare",
    ),
    path(
        "environments/<str:environment>/webhooks",
        webhook_views.WebhookListView.as_view(),
        name="api-webhooks",
    ),
    path(
        "environments/<str:environment>/webhooks/<id:id>",
        webhook_views.WebhookView.as_view(),
        name="api-webhook",
    ),
    path(
        "environments/<str:environment>/webhooks/<id:id>/test",
        webhook_views.WebhookTestView.as_view(),
        name="api-webhook-test",
    ),
]
