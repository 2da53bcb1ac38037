"""The routes of the audit log, under /api/."""

from django.urls import path

from audit_app.api.events import EventItemsView, EventListView

urlpatterns = [
    path("events", EventListView.as_view(), name="api-events"),
    path("events/<str:stream>/<int:sequence>/items", EventItemsView.as_view(), name="api-event-items"),
]
