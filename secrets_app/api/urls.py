"""The routes of secrets, under /api/."""

from django.urls import path, register_converter

from secrets_app.api import bulk as bulk_api
from secrets_app.api import environment_secrets as environment_secrets_api
from secrets_app.api import imports as imports_api
from secrets_app.api import manifests as manifests_api
from secrets_app.api import offboarding as offboarding_api
from secrets_app.api import secrets as secrets_api
from secrets_app.api import webhooks as webhooks_api


class IdConverter:
    """A bigint id; longer numbers lead nowhere instead of into the database driver."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


register_converter(IdConverter, "id")

_ENVIRONMENT = "environments/<str:environment>"

urlpatterns = [
    path(
        "users/<str:username>/offboarding", offboarding_api.OffboardingView.as_view(), name="api-offboarding"
    ),
    path("secrets", secrets_api.SecretListView.as_view(), name="api-secrets"),
    path("secrets/bulk", bulk_api.BulkView.as_view(), name="api-secrets-bulk"),
    path("secrets/generate", secrets_api.GenerateView.as_view(), name="api-secrets-generate"),
    path("secrets/<id:id>", secrets_api.SecretView.as_view(), name="api-secret"),
    path("secrets/<id:id>/restore", secrets_api.RestoreView.as_view(), name="api-secret-restore"),
    path("secrets/<id:id>/purge", secrets_api.PurgeView.as_view(), name="api-secret-purge"),
    path("secrets/<id:id>/rollback", secrets_api.RollbackView.as_view(), name="api-secret-rollback"),
    path("secrets/<id:id>/rename", secrets_api.RenameView.as_view(), name="api-secret-rename"),
    path("secrets/<id:id>/copy", secrets_api.CopyView.as_view(), name="api-secret-copy"),
    path("secrets/<id:id>/move", secrets_api.MoveView.as_view(), name="api-secret-move"),
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
    path(f"{_ENVIRONMENT}/webhooks", webhooks_api.WebhookListView.as_view(), name="api-webhooks"),
    path(f"{_ENVIRONMENT}/webhooks/<id:id>", webhooks_api.WebhookView.as_view(), name="api-webhook"),
    path(
        f"{_ENVIRONMENT}/webhooks/<id:id>/test",
        webhooks_api.WebhookTestView.as_view(),
        name="api-webhook-test",
    ),
]
