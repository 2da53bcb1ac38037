"""What a report reads of the audit log: each event of its time once, however many share one."""

from datetime import timedelta

import pytest
from django.utils import timezone

from audit_app.models import AuditEvent
from audit_app.queries import reports
from audit_app.tests.trail import SECRET, write
from environments_app.tests.cast import Cast

pytestmark = pytest.mark.every_database


def test_events_of_one_time_are_read_once_each_in_their_order(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "_EVENTS_PER_QUERY", 2)
    now = timezone.now()
    for _ in range(2):
        # What is recorded together has one time.
        write(5)
    assert AuditEvent.objects.filter(object_uuid=SECRET.uuid).values("at").distinct().count() == 2
    scope = reports.Scope(viewer=cast.principal(cast.root), since=now, until=now + timedelta(minutes=1))
    found = [event.pk for event in scope.events(object_uuid=SECRET.uuid)]
    assert found == sorted(AuditEvent.objects.filter(object_uuid=SECRET.uuid).values_list("pk", flat=True))
    assert len(found) == 10
