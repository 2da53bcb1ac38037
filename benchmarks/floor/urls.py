"""The one address of the floor."""

from django.urls import path

from benchmarks.floor.views import SecretView

urlpatterns = [path("secrets/<int:id>", SecretView.as_view())]
