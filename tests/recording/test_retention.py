"""Retention of the trail leaves what every part of Keeper asks the trail for."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from audit_app.checkpoints.inspection import whole_log
from audit_app.checkpoints.schedule import anchor_log
from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from audit_app.retention.prune import prune
from environments_app.tests.cast import Cast
from operations_app.tests.backup.making import furnish
from secrets_app.exposure import offboarding_report
from secrets_app.models import Secret
from secrets_app.services import read
from sync_app.rotation.execution.compromise_response import find_exposed


@pytest.mark.every_database
def test_old_reads_go_and_nothing_forgets_what_stands(
    cast: Cast, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path / 'sink'}"]
    real = timezone.now
    with monkeypatch.context() as then:
        then.setattr("django.utils.timezone.now", lambda: real() - timedelta(days=200))
        furnish(cast)
        secret = Secret.objects.select_related("environment").get(name="payments/key")
        for _ in range(5):
            read.reveal(actor=cast.principal(cast.bob), secret=secret)
            list(read.reveal_environment(actor=cast.principal(cast.erin), environment=cast.development))
        anchor_log(at_once=True)
    before = everything_that_asks(cast)
    reads = AuditEvent.objects.filter(action__in=[Action.SECRET_REVEAL, Action.SECRET_EXPORT])
    assert reads.count() == 10
    prune(
        actor=actors.system(),
        before=timezone.now() - timedelta(days=100),
        bundle=tmp_path / "bundle",
        operator="a test",
    )
    assert reads.count() == 2
    assert everything_that_asks(cast) == before
    assert list(run_checks()) == []
    assert list(whole_log()) == []


def everything_that_asks(cast: Cast) -> list[object]:
    root = cast.principal(cast.root)
    known = [offboarding_report(actor=root, user=user).known for user in (cast.bob, cast.erin, cast.alice)]
    return [*known, *(find_exposed(user.uuid) for user in (cast.bob, cast.erin))]
