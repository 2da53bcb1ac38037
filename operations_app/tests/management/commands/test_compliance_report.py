"""`keeper compliance-report` writes any section, in any form, to a file of its own."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from environments_app.tests.cast import Cast


def test_it_writes_to_a_new_file(cast: Cast, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    call_command("compliance_report", "--output", str(path))
    assert json.loads(path.read_bytes())["title"] == "Compliance report"
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("compliance_report", "--output", str(path))


def test_it_lists_its_sections_and_refuses_others(cast: Cast) -> None:
    out = StringIO()
    call_command("compliance_report", "--list", stdout=out)
    assert "access: Access review." in out.getvalue()
    with pytest.raises(CommandError, match="section not found"):
        call_command("compliance_report", "--section", "none")
