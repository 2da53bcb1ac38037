"""The routes of the audit log, under /api/."""

from django.urls import path

from audit_app.api.events import EventListView

urlpatterns = [path("events", EventListView.as_view(), name="api-events")]
