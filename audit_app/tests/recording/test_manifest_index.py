"""The index of the manifests of events: few events have one."""

import pytest
from django.db import connection

from audit_app.models import AuditEvent

pytestmark = pytest.mark.django_db


def test_events_without_a_manifest_have_no_entry_in_its_index() -> None:
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = 'audit_event_manifest'")
        assert cursor.fetchone()[0].endswith("WHERE manifest_id IS NOT NULL")


def test_who_looks_for_manifests_finds_their_events_by_it() -> None:
    if connection.vendor != "sqlite":
        return
    for events in (AuditEvent.objects.filter(manifest=1), AuditEvent.objects.filter(manifest__in=[1, 2])):
        assert "INDEX audit_event_manifest (manifest_id=?)" in events.order_by().explain()
