"""The address of the page of what happened."""

from django.urls import path

from audit_app import views

urlpatterns = [
    path("activity", views.activity, name="activity"),
    path("activity/export.<str:form>", views.activity_export, name="activity-export"),
    path("activity/views/save", views.view_save, name="activity-view-save"),
    path("activity/views/<int:id>/remove", views.view_remove, name="activity-view-remove"),
    path("activity/<int:id>", views.activity_event, name="activity-event"),
]
