"""The command that shows, fills and rebuilds the search table."""

import pytest
from django.core.management import call_command

from audit_app.queries import search_index
from audit_app.tests.trail import write

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


def test_the_command_fills_it_and_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    write(9)
    total = search_index.behind()
    call_command("audit_search")
    assert f"{total} events behind" in capsys.readouterr().out
    call_command("audit_search", "--fill")
    assert search_index.behind() == 0
    call_command("audit_search")
    assert "complete" in capsys.readouterr().out
