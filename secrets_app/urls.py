"""The addresses of the secret pages."""

from django.urls import path

from secrets_app import views

urlpatterns = [
    path("secrets", views.secret_list, name="secret-list"),
    path("secrets/new", views.secret_new, name="secret-new"),
    path("secrets/generate", views.secret_generate, name="secret-generate"),
    path("secrets/<int:id>", views.secret_detail, name="secret-detail"),
    path("secrets/<int:id>/reveal", views.secret_reveal, name="secret-reveal"),
    path("secrets/<int:id>/copy", views.secret_copy, name="secret-copy"),
    path("secrets/<int:id>/edit", views.secret_edit, name="secret-edit"),
    path("secrets/<int:id>/rollback", views.secret_rollback, name="secret-rollback"),
    path("secrets/<int:id>/delete", views.secret_delete, name="secret-delete"),
    path("secrets/<int:id>/restore", views.secret_restore, name="secret-restore"),
    path("secrets/<int:id>/purge", views.secret_purge, name="secret-purge"),
]
