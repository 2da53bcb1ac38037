"""The addresses of the audit log: its pages, and its API under /api/."""

from django.urls import path

from audit_app import views
from audit_app.api import EventItemsView, EventListView

API = [
    path("events", EventListView.as_view(), name="api-events"),
    path("events/<str:stream>/<int:sequence>/items", EventItemsView.as_view(), name="api-event-items"),
]
urlpatterns = [
    path("activity", views.activity, name="activity"),
    path("activity/export.<str:form>", views.activity_export, name="activity-export"),
    path("activity/views/save", views.view_save, name="activity-view-save"),
    path("activity/views/<int:id>/remove", views.view_remove, name="activity-view-remove"),
    path("activity/<int:id>", views.activity_event, name="activity-event"),
]
