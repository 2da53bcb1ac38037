"""The command that shows how far the counts of use are, and completes them."""

import json

import pytest
from django.core.management import call_command

from audit_app.queries import usage_index
from audit_app.tests.trail import write

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


def test_the_command_counts_and_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    write(9)
    total = usage_index.behind()
    call_command("audit_usage")
    assert f"{total} events are not counted yet." in capsys.readouterr().out
    call_command("audit_usage", "--fill")
    assert "Every event is counted." in capsys.readouterr().out


@pytest.mark.parametrize("command", ["audit_usage", "audit_search"])
def test_programs_read_how_far_it_is(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(9)
    call_command(command, "--format", "json")
    assert json.loads(capsys.readouterr().out)["behind"] >= 9
    call_command(command, "--rebuild", "--format", "json")
    assert json.loads(capsys.readouterr().out) == {"behind": 0}
