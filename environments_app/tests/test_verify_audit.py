import io
import json

import pytest
from django.core.management import call_command
from django.db import OperationalError
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import Problem, run_checks
from audit_app.models import AuditEvent
from audit_app.tests.trail import STREAM, sql, write
from core.canonical_json import parsed_details
from environments_app import operator_jobs

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


def broken_row() -> list[Problem]:
    return [Problem(kind="edited", object="membership 3", message="not written by Keeper")]


def run(*arguments: str) -> tuple[int, list[str]]:
    output = io.StringIO()
    try:
        call_command("verify_audit", *arguments, stdout=output)
    except SystemExit as ended:
        return int(str(ended.code)), output.getvalue().splitlines()
    return 0, output.getvalue().splitlines()


def test_a_sound_trail_ends_with_0_and_the_counts() -> None:
    write(3)
    assert run() == (
        0,
        ["2 streams, 4 events, 0 manifests, 0 anchors, 0 checkpoints, 0 discontinuities, 0 cut, 0 problems"],
    )


def test_a_damaged_trail_ends_with_1_and_names_the_event() -> None:
    write(3)
    sql("UPDATE audit_app_auditevent SET actor_name = 'mallory' WHERE stream = %s AND sequence = 2", STREAM)
    code, lines = run()
    assert code == 1
    assert lines[0] == f"edited: event {STREAM} #2: the event is not the one that was recorded"
    assert lines[-1].endswith("1 problems")


def test_json_is_one_document() -> None:
    write(3)
    sql("DELETE FROM audit_app_auditevent WHERE stream = %s AND sequence = 2", STREAM)
    code, lines = run("--format", "json")
    told = json.loads("\n".join(lines))
    (problem,), counts = told["problems"], told["counts"]
    assert (code, told["discontinuities"]) == (1, [])
    assert (problem["kind"], problem["stream"], problem["sequence"]) == ("missing", STREAM, 2)
    assert counts["problems"] == 1


def test_the_checks_of_the_apps_count(settings: Settings) -> None:
    settings.KEEPER_INTEGRITY_CHECKS = [f"{__name__}.broken_row"]
    assert list(run_checks()) == broken_row()
    code, lines = run()
    assert code == 1
    assert lines[0] == "edited: membership 3: not written by Keeper"


@pytest.mark.parametrize("extent", ["full", "since-checkpoint"])
@pytest.mark.parametrize(("damage", "outcome"), [(0, "allowed"), (1, "failed")])
def test_the_result_is_recorded_as_page_and_api_record_it(extent: str, damage: int, outcome: str) -> None:
    write(3)
    if damage:
        sql("UPDATE audit_app_auditevent SET actor_name = 'x' WHERE stream = %s AND sequence = 2", STREAM)
    code, lines = run(f"--{extent}", "--format", "json")
    event = AuditEvent.objects.get(action=Action.TRAIL_VERIFY)
    details = parsed_details(event.details)
    assert (code, event.outcome, json.loads("\n".join(lines))["recorded"]) == (damage, outcome, True)
    assert (event.actor_kind, details["extent"], details["problems"]) == ("system", extent, damage)


@pytest.mark.parametrize("arguments", [["--no-record"], ["--stream", STREAM]])
def test_without_a_record_nothing_is_written(arguments: list[str]) -> None:
    write(3)
    code, lines = run(*arguments, "--format", "json")
    assert (code, json.loads("\n".join(lines))["recorded"]) == (0, False)
    assert not AuditEvent.objects.filter(action=Action.TRAIL_VERIFY).exists()


@pytest.mark.parametrize(("damage", "code"), [("", 75), ("actor_name = 'x'", 1)])
def test_what_was_found_is_printed_where_it_cannot_be_recorded(
    damage: str, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(3)
    if damage:
        sql(f"UPDATE audit_app_auditevent SET {damage} WHERE stream = %s AND sequence = 2", STREAM)

    def read_only(**_: object) -> None:
        raise OperationalError(1290, "the server is running with the --read-only option")

    monkeypatch.setattr(operator_jobs, "commit_record", read_only)
    ended, lines = run()
    assert ended == code
    assert lines[-1].endswith("1 problems" if damage else "0 problems")
    assert "`keeper status` does not show it" in capsys.readouterr().err


def test_one_stream_can_be_verified_alone() -> None:
    write(2)
    sql("UPDATE audit_app_auditevent SET actor_name = 'x' WHERE stream = 'system'")
    assert run("--stream", STREAM)[0] == 0
    assert run("--stream", "system")[0] == 1
