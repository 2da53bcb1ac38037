"""Reports hold what the viewer may see, nothing else and no value; each is recorded, in every form."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, timedelta
from pathlib import Path

import orjson
import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.models import AuditEvent, deployment_uuid
from audit_app.queries.reports import sections
from core.canonical_json import utc_text
from core.errors import BadQuery
from environments_app.environments.service import update_environment
from environments_app.errors import Forbidden
from environments_app.models import Environment, User
from environments_app.tests.cast import Cast
from operations_app import tasks
from operations_app.reports import mail as reports_mail
from operations_app.reports import service as reports
from operations_app.reports.formats import FORMATS
from operations_app.reports.service import CONTROLS
from operations_app.tests.backup.making import furnish
from secrets_app.models import Secret
from secrets_app.services import read as read_service
from secrets_app.tests.kept import VALUE, keep

every_database = pytest.mark.every_database
ASKED = {
    "access",
    "privileged",
    "refused",
    "inventory",
    "rotation",
    "expiry",
    "encryption",
    "sync",
    "chain",
    "offboarding",
}


def written(cast: Cast, who: User, form: str = "json", key: str = "all") -> bytes:
    return b"".join(FORMATS[form].write(reports.make(actor=cast.principal(who), key=key)))


def table(cast: Cast, who: User, key: str) -> list[dict[str, str]]:
    text = written(cast, who, "csv", key).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_every_section_that_was_asked_for_is_there() -> None:
    assert sections().keys() >= ASKED


def test_every_control_names_sections_that_there_are() -> None:
    named = {key for control in CONTROLS for key in control.sections}
    assert named <= sections().keys()
    assert {control.framework for control in CONTROLS} == {
        "SOC 2",
        "ISO 27001:2022",
        "PCI DSS 4.0.1",
        "ASVS 5.0",
    }
    assert any(not control.sections for control in CONTROLS)


@every_database
def test_the_rows_fit_their_columns_and_no_value_is_in_any_form(cast: Cast) -> None:
    furnish(cast)
    for form in FORMATS:
        content = written(cast, cast.root, form)
        assert VALUE.encode() not in content
        assert b"the second value" not in content
    report = json.loads(written(cast, cast.root))
    for section in report["sections"]:
        assert all(len(row) == len(section["columns"]) for row in section["rows"]), section["key"]
    filled = {section["key"] for section in report["sections"] if section["rows"]}
    assert filled >= {"access", "tokens", "people", "inventory", "encryption", "sync", "chain"}


@every_database
def test_a_manager_sees_their_environments_alone(cast: Cast) -> None:
    furnish(cast)
    other = Environment.objects.create(name="far-away", display_name="Far away")
    Secret.objects.filter(name="other").update(environment=other)
    # Its log has an event, and so a stream.
    update_environment(actor=cast.principal(cast.root), environment=other, colour="green")
    content = written(cast, cast.alice)
    assert b"far-away" not in content
    assert str(other.uuid).encode() not in content
    assert b"payments/key" in content
    assert {section.key for section in reports.offered(actor=cast.principal(cast.alice))}.isdisjoint(
        {"people", "offboarding"}
    )
    with pytest.raises(BadQuery):
        reports.make(actor=cast.principal(cast.alice), key="people")
    shown = written(cast, cast.root)
    assert b"far-away" in shown
    assert str(other.uuid).encode() in shown


@pytest.mark.parametrize("who", ["bob", "vera", "charlie"])
def test_others_get_none_and_that_is_recorded(
    cast: Cast, who: str, events: Callable[..., list[AuditEvent]]
) -> None:
    with pytest.raises(Forbidden):
        written(cast, getattr(cast, who))
    assert [event.outcome for event in events("report.generate")] == ["denied"]


def test_each_is_recorded_before_anything_is_read(
    cast: Cast, events: Callable[..., list[AuditEvent]]
) -> None:
    report = reports.make(actor=cast.principal(cast.root), key="access")
    (event,) = events("report.generate")
    assert event.actor_name == "root"
    assert "access" in event.details
    assert list(report.rows(report.sections[0]))


def test_it_tells_refusals_of_its_time_and_no_others(cast: Cast) -> None:
    secret = keep(cast)
    with pytest.raises(Forbidden):
        read_service.reveal(actor=cast.principal(cast.vera), secret=secret)
    (row,) = table(cast, cast.alice, "refused")
    assert (row["Actor"], row["Action"], row["Outcome"]) == ("vera", "secret.reveal", "denied")
    past = timezone.now() - timedelta(days=1)
    report = reports.make(
        actor=cast.principal(cast.root), key="refused", since=past - timedelta(days=1), until=past
    )
    assert list(report.rows(report.sections[0])) == []


def test_who_left_is_shown_with_what_they_still_hold(cast: Cast) -> None:
    User.objects.filter(pk=cast.bob.pk).update(is_active=False)
    (row,) = table(cast, cast.root, "offboarding")
    assert (row["Username"], row["Memberships"]) == ("bob", "1")


@pytest.mark.parametrize("name", ["=HYPERLINK", "+1", "-1+1", "@SUM"])
def test_no_cell_of_a_csv_is_a_formula(cast: Cast, name: str) -> None:
    User.objects.filter(pk=cast.bob.pk).update(email=name)
    row = next(row for row in table(cast, cast.root, "people") if row["Username"] == "bob")
    assert row["E-mail"] == f"'{name}"


def test_a_report_judges_nothing(cast: Cast) -> None:
    report = json.loads(written(cast, cast.root))
    assert {"not assessed"} == {
        each["evidence"] for each in report["controls"] if isinstance(each["evidence"], str)
    }
    pages = written(cast, cast.root).decode().lower()
    assert "compliant" not in pages


def test_a_manager_finds_no_evidence_in_what_they_may_not_see(cast: Cast) -> None:
    report = json.loads(written(cast, cast.alice))
    control = next(each for each in report["controls"] if each["number"] == "8.2.5")
    assert control["evidence"] == "not assessed"


def test_it_is_passed_on_while_it_is_read(cast: Cast) -> None:
    report = reports.make(actor=cast.principal(cast.root), key="people")
    read: list[int] = []
    real = report.sections[0].rows

    def rows(scope: object) -> object:
        for row in real(scope):  # type: ignore[arg-type]
            read.append(1)
            yield row

    object.__setattr__(report.sections[0], "rows", rows)
    try:
        lines = FORMATS["csv"].write(report)
        next(lines)
        next(lines)
        assert len(read) == 1
    finally:
        object.__setattr__(report.sections[0], "rows", real)


# --- Faces ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "start"), [("csv", b'"Environment"'), ("json", b"{")])
def test_pages_and_api_give_the_same_files(
    cast: Cast, signed_in: Callable[[User], Client], bearer: Callable[..., Client], form: str, start: bytes
) -> None:
    furnish(cast)
    for response in (
        signed_in(cast.root).get(f"/reports/access.{form}"),
        bearer("admin").get(f"/api/reports/access?form={form}"),
    ):
        content = b"".join(response.streaming_content)  # type: ignore[attr-defined]
        assert content.startswith(start)
        assert "no-store" in response["Cache-Control"]
        assert f'.{form}"' in response["Content-Disposition"]


def test_a_report_to_print_is_a_page_and_a_file_that_needs_nothing_beside_it(
    cast: Cast,
    signed_in: Callable[[User], Client],
    bearer: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("operations_app.reports.formats.PRINTED_ROWS", 2)
    User.objects.update(email="<b>@example.com")
    page = signed_in(cast.root).get("/reports/people.html")
    file = bearer("admin").get("/api/reports/people?form=html")
    text = b"".join(file.streaming_content).decode()  # type: ignore[attr-defined]

    assert "Content-Disposition" not in page
    assert 'rel="stylesheet"' in page.content.decode()
    assert "<style>" not in page.content.decode()
    assert file["Content-Disposition"].endswith('.html"')
    assert "@page" in text
    assert 'href="' not in text
    for shown in (page.content.decode(), text):
        assert "&lt;b&gt;@example.com" in shown
        assert f"{User.objects.count() - 2} further rows" in shown
        assert str(deployment_uuid()) in shown


def test_what_asked_for_a_pdf_is_led_to_the_page_to_print(
    cast: Cast, signed_in: Callable[[User], Client], bearer: Callable[..., Client]
) -> None:
    answer = signed_in(cast.root).get("/reports/access.pdf?since=2026-11-01")
    assert answer["Location"] == "/reports/access.html?since=2026-11-01"
    answer = bearer("admin").get("/api/reports/access?form=pdf")
    assert answer.status_code == 400
    assert "form=html" in answer.content.decode()


def test_the_pages_show_them(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    furnish(cast)
    page = signed_in(cast.alice)
    assert "Access review" in page.get("/reports").content.decode()
    text = page.get("/reports/all").content.decode()
    assert "not assessed" in text
    assert "payments/key" in text
    assert "compliant" not in text.lower()
    assert page.get("/reports/people").status_code == 404
    assert page.get("/reports/access.exe").status_code == 404
    assert page.get("/reports/access?since=2026-11-20&until=2026-11-01").status_code == 404


def test_the_api_refuses_what_it_does_not_know(cast: Cast, bearer: Callable[..., Client]) -> None:
    client = bearer("admin")
    assert orjson.loads(client.get("/api/reports").content)[0]["key"] == "access"
    for query in ("form=exe", "since=yesterday", "colour=blue"):
        assert client.get(f"/api/reports/access?{query}").status_code == 400
    assert client.get("/api/reports/nothing").status_code == 400


@pytest.fixture
def mailing(settings: Settings) -> None:
    settings.KEEPER_REPORT_EMAILS = ["audit@example.com"]
    settings.KEEPER_REPORT_SCHEDULE = "weekly"
    settings.EMAIL_HOST = "mail.example.com"


@pytest.mark.usefixtures("mailing")
def test_it_is_sent_once_a_week(cast: Cast) -> None:
    furnish(cast)
    tasks.send_report()
    tasks.send_report()
    (message,) = mail.outbox
    names = [str(attached[0]) for attached in message.attachments]
    assert [name.rpartition(".")[2] for name in names] == ["html", "json"]
    assert not any(VALUE in str(attached[1]) for attached in message.attachments)
    assert not reports_mail.is_due(timezone.now() + timedelta(days=6))
    assert reports_mail.is_due(timezone.now() + timedelta(days=8))


@pytest.mark.usefixtures("mailing")
def test_one_that_was_not_sent_is_tried_again(cast: Cast, settings: Settings) -> None:
    settings.EMAIL_BACKEND = "core.network.mail.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    tasks.send_report()
    assert AuditEvent.objects.filter(action="report.send").last().outcome == "failed"  # type: ignore[union-attr]
    assert not reports_mail.is_due(timezone.now() + timedelta(hours=5))
    assert reports_mail.is_due(timezone.now() + timedelta(hours=7))


def test_access_tokens_and_trusts_have_an_earlier_state_and_none_of_the_future(cast: Cast) -> None:
    past, root = timezone.now() - timedelta(days=1), cast.principal(cast.root)
    for key in ("access", "tokens", "trusts"):
        assert reports.make(actor=root, key=key, as_of=past).scope.as_of == past
    for key, as_of in (("all", past), ("people", past), ("access", timezone.now() + timedelta(days=1))):
        with pytest.raises(BadQuery):
            reports.make(actor=root, key=key, as_of=as_of)


def test_a_section_that_is_a_state_says_as_of_when(cast: Cast) -> None:
    """Of a period that is over, access is as of its end; what happened in a period is of no one moment."""
    root, now = cast.principal(cast.root), timezone.now()
    over = reports.make(actor=root, key="all", since=now - timedelta(days=9), until=now - timedelta(days=2))
    running = reports.make(actor=root, key="all", since=now - timedelta(days=9))
    for report, of_access in ((over, over.scope.until), (running, running.made_at)):
        told = {
            each["key"]: each for each in orjson.loads(b"".join(FORMATS["json"].write(report)))["sections"]
        }
        states = {key for key, each in told.items() if each["as_of"]}
        assert told.keys() - states == {"privileged", "refused", "damage", "reviews"}
        past = {"access", "tokens", "trusts"}
        assert {told[key]["as_of"] for key in past} == {utc_text(of_access)}
        assert {told[key]["as_of"] for key in states - past} == {utc_text(report.made_at)}
        page = b"".join(FORMATS["html"].write(report)).decode()
        assert page.count(f"As of {report.made_at:%Y-%m-%d %H:%M} UTC, when this report was made.") >= 10
    access = next(section for section in over.sections if section.key == "access")
    assert "by the audit log" in over.state(access)
    # The cast was given access afterwards.
    assert list(over.rows(access)) == []
    assert list(running.rows(access))
    event = AuditEvent.objects.filter(action="report.generate").order_by("id").first()
    assert event
    assert json.loads(event.details)["as_of"] == over.scope.until.isoformat()


def test_page_and_api_take_a_day(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    client, today = signed_in(cast.root), timezone.now().astimezone(UTC).date()
    for key in ("access", "tokens", "trusts"):
        page = client.get(f"/reports/{key}?as_of={today}").content.decode()
        assert "by the audit log" in page
        assert f'name="as_of" value="{today}"' in page
        file = client.get(f"/reports/{key}.json?as_of={today}")
        assert "by the audit log" not in client.get(f"/reports/{key}").content.decode()
        api = client.get(f"/api/reports/{key}?as_of={today}")
        for answer in (file, api):
            body = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
            (section,) = orjson.loads(body)["sections"]
            assert section["as_of"].startswith(str(today))
    assert 'name="as_of"' not in client.get("/reports/people").content.decode()
    for refused in (f"people?as_of={today}", f"access?as_of={today + timedelta(days=1)}", "access?as_of=x"):
        assert client.get(f"/api/reports/{refused}").status_code == 400
    assert client.get(f"/reports/access?as_of={today + timedelta(days=1)}").status_code == 404


def test_the_command_takes_a_day(cast: Cast, tmp_path: Path) -> None:
    yesterday, today, tomorrow = (timezone.now().date() + timedelta(days=days) for days in (-1, 0, 1))
    options = {"section": "access", "format": "csv", "output": tmp_path / "today.csv"}
    call_command("compliance_report", as_of=today, **options)
    assert "bob" in (tmp_path / "today.csv").read_text()
    for day, words in ((yesterday, "The audit log begins on"), (tomorrow, "in the future")):
        for command in (
            ["compliance_report", "--section", "access"],
            ["access", "--environment", "development"],
        ):
            with pytest.raises(CommandError, match=words):
                call_command(*command, "--as-of", str(day))
