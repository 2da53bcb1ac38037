import pytest
from django.contrib import admin
from django.db import models
from django.test import RequestFactory

from audit_app import models as trail

MODELS = [
    trail.AuditEvent,
    trail.Checkpoint,
    trail.Deployment,
    trail.ReadManifest,
    trail.ReadManifestItem,
    trail.RefusalCount,
    trail.SinkState,
    trail.StreamCursor,
    trail.StreamHead,
]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_shown_and_none_can_be_changed(model: type[models.Model]) -> None:
    shown = admin.site.get_model_admin(model)
    request = RequestFactory().get("/")
    assert not shown.has_add_permission(request)
    assert not shown.has_change_permission(request)
    assert not shown.has_delete_permission(request)
    assert shown.actions is None


@pytest.mark.parametrize("model", MODELS)
def test_no_hash_or_mac_is_shown(model: type[models.Model]) -> None:
    shown = admin.site.get_model_admin(model)
    fields = {*shown.get_fields(RequestFactory().get("/")), *shown.list_display}
    assert fields.isdisjoint({"hash", "previous_hash", "mac", "digest_bytes", "signature"})
