"""Damage of SQLite's own file is a finding; `keeper_project/tests/runtime/test_cli.py` damages a real one."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError

from audit_app.integrity import database_file


@pytest.mark.django_db
@pytest.mark.every_database
def test_a_whole_database_has_no_finding() -> None:
    assert list(database_file.problems()) == []


@pytest.mark.parametrize(
    "answer", [[("Tree 7 page 9: wrong",)], DatabaseError("malformed")], ids=["found", "unreadable"]
)
def test_what_sqlite_finds_or_cannot_read_is_a_finding(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    def execute(_: str) -> None:
        if isinstance(answer, Exception):
            raise answer

    cursor = SimpleNamespace(execute=execute, fetchall=lambda: answer)
    here = SimpleNamespace(vendor="sqlite", cursor=lambda: nullcontext(cursor))
    monkeypatch.setattr(database_file, "connection", here)
    (found,) = database_file.problems()
    assert found.kind == "damaged"
    assert "restore the last backup" in found.message
