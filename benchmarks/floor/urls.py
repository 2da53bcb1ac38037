"""The two addresses of the floor."""

from django.urls import path

from benchmarks.floor.views import SecretsView, SecretView

urlpatterns = [path("secrets", SecretsView.as_view()), path("secrets/<int:id>", SecretView.as_view())]
