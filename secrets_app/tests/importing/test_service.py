"""Imports: what is previewed is what is written, nothing else, and nobody learns a value by guessing."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent, ReadManifestItem
from environments_app.errors import Forbidden
from environments_app.models import Membership, User
from environments_app.tests.cast import Cast
from secrets_app.api import bulk
from secrets_app.errors import NameTaken, TooManyItems
from secrets_app.importing import service as importing
from secrets_app.importing.formats.registry import Entry, parse
from secrets_app.importing.plan import Plan, PlanChanged, Verdict, plan_import
from secrets_app.importing.service import import_entries
from secrets_app.models import Secret, SecretVersion
from secrets_app.services import lifecycle
from secrets_app.services import read as read_service
from secrets_app.tests.kept import VALUE, change, keep, send
from secrets_app.types.registry import SecretType

pytestmark = pytest.mark.every_database_weekly

Events = Callable[..., list[AuditEvent]]
COLUMN = "/secrets/matrix?edit=development"


def entries(**values: str) -> list[Entry]:
    return [
        Entry(place=place, name=name, value=value) for place, (name, value) in enumerate(values.items(), 1)
    ]


def verdicts(plan: Plan) -> dict[str, str]:
    return {line.entry.name: str(line.verdict) for line in plan.lines}


def value_of(cast: Cast, name: str) -> str:
    secret = Secret.objects.select_related("environment").get(name=name, live=True)
    return read_service.reveal(actor=cast.principal(cast.alice), secret=secret).value


def test_a_preview_tells_each_entry_and_writes_nothing(cast: Cast, events: Events) -> None:
    same, changed = keep(cast, "same"), keep(cast, "changed")
    before = (Secret.objects.count(), SecretVersion.objects.count())
    given = [*entries(new="n", same=VALUE, changed="other", **{"bad name": "x"}), *entries(new="again")]

    plan = plan_import(actor=cast.principal(cast.erin), environment=cast.development, entries=given)

    told = [str(line.verdict) for line in plan.lines]
    assert told == ["new", "same", "changed", "refused", "refused"]
    assert (Secret.objects.count(), SecretVersion.objects.count()) == before
    # Telling "same" from "changed" is a read of both.
    (event,) = events("secret.compare")
    read = ReadManifestItem.objects.filter(manifest=event.manifest_id).values_list("secret_uuid", flat=True)
    assert set(read) == {same.uuid, changed.uuid}
    assert "canary" not in event.details


def test_what_was_previewed_is_written_and_recorded(cast: Cast, events: Events) -> None:
    keep(cast, "same")
    keep(cast, "changed")
    erin = cast.principal(cast.erin)
    given = entries(new="n", same=VALUE, changed="other", **{"bad name": "x"})
    plan = plan_import(actor=erin, environment=cast.development, entries=given)

    _, results = import_entries(actor=erin, environment=cast.development, entries=given, digest=plan.digest)

    assert {(result.name, result.done, result.word) for result in results} == {
        ("new", True, "created"),
        ("changed", True, "changed"),
    }
    assert (value_of(cast, "new"), value_of(cast, "changed"), value_of(cast, "same")) == ("n", "other", VALUE)
    assert SecretVersion.objects.filter(secret__name="same").count() == 1
    assert len(events("secret.import")) == 1
    assert list(run_checks()) == []


@pytest.mark.parametrize("what", ["the value", "the secret", "a new name", "somebody else"])
def test_what_was_not_previewed_is_not_written(cast: Cast, what: str) -> None:
    kept = keep(cast, "key")
    erin, given = cast.principal(cast.erin), entries(key="mine", fresh="f")
    plan = plan_import(actor=erin, environment=cast.development, entries=given)
    if what == "the value":
        given = entries(key="mine", fresh="swapped")
    elif what == "the secret":
        change(cast, kept, "theirs")
    elif what == "a new name":
        keep(cast, "fresh")
    else:
        erin = cast.principal(cast.alice)
    count = SecretVersion.objects.count()

    with pytest.raises(PlanChanged):
        import_entries(actor=erin, environment=cast.development, entries=given, digest=plan.digest)

    assert SecretVersion.objects.count() == count


def test_existing_secrets_are_left_alone_when_that_is_asked(cast: Cast) -> None:
    keep(cast, "key")
    given = entries(key="other", fresh="f")
    plan, results = import_entries(
        actor=cast.principal(cast.erin), environment=cast.development, entries=given, keep_existing=True
    )
    assert verdicts(plan) == {"key": "kept", "fresh": "new"}
    assert [result.name for result in results] == ["fresh"]
    assert value_of(cast, "key") == VALUE


def test_who_may_not_import_learns_nothing(cast: Cast, events: Events) -> None:
    keep(cast, "secret/key")
    with pytest.raises(Forbidden):
        plan_import(
            actor=cast.principal(cast.bob),
            environment=cast.development,
            entries=entries(**{"secret/key": VALUE}),
        )
    part = User.objects.create_user("part")
    Membership.objects.create(environment=cast.development, user=part, role="editor", prefix="mine")
    guessed = entries(**{"secret/key": VALUE, "secret/none": VALUE, "mine/a": "v"})

    plan = plan_import(actor=cast.principal(part), environment=cast.development, entries=guessed)

    hidden = [(line.verdict, line.reason, line.secret) for line in plan.lines[:2]]
    assert hidden[0] == hidden[1]
    assert verdicts(plan)["mine/a"] == "new"
    assert events("secret.compare") == []


def test_a_value_that_its_type_refuses_is_told_and_the_rest_written(cast: Cast) -> None:
    keep(cast, "config", "{}", secret_type=SecretType.JSON)
    given = [
        *entries(config="no json", ok="v"),
        Entry(place=3, name="cert", value="x", secret_type=SecretType.CERTIFICATE),
    ]
    plan, results = import_entries(
        actor=cast.principal(cast.erin), environment=cast.development, entries=given
    )
    assert verdicts(plan) == {"config": "refused", "ok": "new", "cert": "refused"}
    assert [line.field for line in plan.of(Verdict.REFUSED)] == ["value", "value"]
    assert [result.name for result in results] == ["ok"]


def test_a_plan_costs_the_same_statements_for_many_as_for_few(
    cast: Cast, django_assert_max_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    erin = cast.principal(cast.erin)
    counts = []
    for number in (2, 40):
        given = [Entry(place=1, name=f"k{place}", value=f"v{place}") for place in range(number)]
        import_entries(actor=erin, environment=cast.development, entries=given[:number])
        with CaptureQueriesContext(connection) as captured:
            plan_import(
                actor=erin,
                environment=cast.development,
                entries=[Entry(place=1, name=e.name, value="x") for e in given],
            )
        # A manifest is looked up, and stored the first time.
        counts.append(len(captured))
    assert counts[0] == counts[1]


# --- The page and the API ------------------------------------------------------------------------


def upload(text: str, **fields: str) -> dict[str, Any]:
    file = SimpleUploadedFile("secrets.env", text.encode())
    return {"environment": "development", "file": file, "existing": "change", **fields}


def test_the_page_imports_two_hundred_after_three_were_corrected(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    editor = signed_in(cast.erin)
    text = (
        "".join(f"KEY_{number}=value-{number}\n" for number in range(197)) + "bad name=1\n/slash=2\nEMPTY=\n"
    )
    page = editor.post("/secrets/import", upload(text, act="preview"))
    content = page.content.decode()
    assert "Import 197 secrets" in content
    assert "value-1" not in content
    assert Secret.objects.count() == 0
    keys = {line["place"]: line["key"] for line in page.context["lines"]}
    fixes = {
        f"fix-{keys[198]}-name": "good-name",
        f"fix-{keys[198]}-value": "1",
        f"fix-{keys[199]}-name": "slash",
        f"fix-{keys[200]}-value": "filled",
    }
    again = editor.post("/secrets/import", upload(text, act="preview", **fixes))
    assert "Import 200 secrets" in again.content.decode()
    refused = "Fix the entries marked below"
    assert [refused in each.content.decode() for each in (page, again)] == [True, False]

    done = editor.post(
        "/secrets/import", upload(text, act="import", digest=again.context["plan"].digest, **fixes)
    )

    assert "Imported 200 secrets" in done.content.decode()
    assert Secret.objects.count() == 200
    assert (value_of(cast, "EMPTY"), value_of(cast, "slash")) == ("filled", "2")


def test_the_page_says_that_there_is_nothing_to_import(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    keep(cast, "A", "b")
    page = signed_in(cast.erin).post("/secrets/import", upload("A=b", act="preview")).content.decode()
    assert "There are no changes." in page
    assert "Fix the entries" not in page


def test_the_page_writes_nothing_without_the_digest_of_a_preview(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    page = signed_in(cast.erin).post("/secrets/import", upload("A=b", act="import"))
    assert "Nothing was imported" in page.content.decode()
    assert Secret.objects.count() == 0


def test_the_page_says_once_that_nothing_was_written(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    page = signed_in(cast.erin).post("/secrets/import", upload("{", format="json"))
    assert page.content.decode().count("Nothing was saved") == 1


def test_the_page_takes_no_environment_in_which_one_may_not_import(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    page = signed_in(cast.erin).post(
        "/secrets/import", upload("A=b", act="preview", environment="production")
    )
    assert page.status_code == 422
    assert "production" not in page.content.decode()


def test_the_api_previews_unless_it_is_told_to_write(cast: Cast, bearer: Callable[..., Client]) -> None:
    editor = bearer("editor", cast.development)
    body = {"format": "json", "content": json.dumps({"a": VALUE, "b c": "x"}), "prefix": "new"}
    preview = send(editor, "POST", "/api/environments/development/import", body)
    assert [(line["name"], line["result"], line["done"]) for line in preview.json()["results"]] == [
        ("new/a", "new", False),
        ("new/b c", "refused", False),
    ]
    assert VALUE not in preview.content.decode()
    assert Secret.objects.count() == 0

    stale = send(
        editor, "POST", "/api/environments/development/import", body | {"dry_run": False, "digest": "0" * 96}
    )
    written = send(
        editor,
        "POST",
        "/api/environments/development/import",
        body | {"dry_run": False, "digest": preview.json()["digest"]},
    )

    assert (stale.status_code, written.status_code) == (409, 200)
    assert [line["done"] for line in written.json()["results"]] == [True, False]
    assert value_of(cast, "new/a") == VALUE


def test_the_api_writes_a_long_import_in_parts(
    cast: Cast, bearer: Callable[..., Client], monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    monkeypatch.setattr(importing, "PART_SECONDS", 0)
    for name in ("a", "b", "c"):
        keep(cast, name)
    editor, path = bearer("editor", cast.development), "/api/environments/development/import"
    content = json.dumps({"new": "n", "a": "1", "b": "2", "same": "s", "c": "3"})
    body: dict[str, Any] = {"format": "json", "content": content, "dry_run": False}
    first = send(editor, "POST", path, body)
    assert first.status_code == 202
    assert [line["name"] for line in first.json()["results"] if line["done"]] == ["new", "a", "same"]
    assert first.json()["unfinished"]["left"] == 2
    part, following = first, dict(body)
    while part.status_code == 202:
        unfinished = part.json()["unfinished"]
        following |= {"digest": unfinished["digest"], "after": unfinished["after"]}
        part = send(editor, "POST", path, following)
    assert (part.status_code, part.json()["unfinished"]) == (200, None)
    assert [value_of(cast, name) for name in ("new", "a", "b", "same", "c")] == ["n", "1", "2", "s", "3"]
    # Each change once.
    assert SecretVersion.objects.count() == 8
    assert len(events("secret.import")) == 3


def test_a_part_is_refused_once_something_else_has_changed(
    cast: Cast, bearer: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PART_SECONDS", 0)
    first, second = keep(cast, "a"), keep(cast, "b")
    editor, path = bearer("editor", cast.development), "/api/environments/development/import"
    body = {"format": "json", "content": '{"a": "1", "b": "2"}', "dry_run": False}
    unfinished = send(editor, "POST", path, body).json()["unfinished"]
    change(cast, second, "somebody else's")
    asked = body | {"digest": unfinished["digest"], "after": unfinished["after"]}
    assert send(editor, "POST", path, asked).status_code == 409
    assert (value_of(cast, "a"), value_of(cast, "b")) == ("1", "somebody else's")
    assert first.name == "a"


def test_the_page_sends_the_file_again_until_all_is_written(
    cast: Cast, signed_in: Callable[[User], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PART_SECONDS", 0)
    for name in ("a", "b", "c"):
        keep(cast, name)
    editor, text = signed_in(cast.erin), "a=1\nb=2\nc=3\n"
    page = editor.post("/secrets/import", upload(text, act="preview"))
    fields = {"digest": page.context["plan"].digest}
    told = []
    while not (page := editor.post("/secrets/import", upload(text, act="import", **fields))).context.get(
        "results"
    ):
        content = page.content.decode()
        told.append(re.findall(r"<b>(Imported.*?)</b>", content)[0])
        assert 'hx-trigger="load, click"' in content
        fields = dict(re.findall(r'name="(digest|after|done|missed)" value="([^"]*)"', content))
    assert told == ["Imported 1 secret, 2 to go.", "Imported 2 secrets, 1 to go."]
    assert "Imported 3 secrets." in page.content.decode()
    assert [value_of(cast, name) for name in "abc"] == ["1", "2", "3"]


@pytest.mark.parametrize("format", ["dotenv", "json", "yaml", "csv", "kubernetes"])
def test_an_export_is_a_file_that_was_recorded_first(
    cast: Cast, signed_in: Callable[[User], Client], events: Events, format: str
) -> None:
    keep(cast, "payments/key", "=1+1")
    form = {"environment": "development", "under": "payments", "format": format}
    file = signed_in(cast.bob).post("/secrets/export", form)
    assert file.headers["Content-Disposition"].startswith('attachment; filename="development.')
    assert "no-store" in file.headers["Cache-Control"]
    wanted = {"csv": '"\'=1+1","value"', "kubernetes": "payments.key: PTErMQ=="}.get(format, "=1+1")
    assert wanted in file.content.decode()
    assert len(events("secret.export", outcome="allowed")) == 1


def test_an_export_needs_a_fresh_sign_in_and_the_right(
    cast: Cast, signed_in: Callable[[User], Client], settings: Any
) -> None:
    keep(cast)
    form = {"environment": "development", "under": "", "format": "json"}
    assert signed_in(cast.vera).post("/secrets/export", form).status_code == 422
    settings.KEEPER_REAUTH_SECONDS = -1
    asked = signed_in(cast.bob).post("/secrets/export", form)
    assert (asked.status_code, VALUE in asked.content.decode()) == (422, False)
    assert "Confirm your password" in asked.content.decode()


def test_the_parser_and_the_plan_agree_on_places(cast: Cast) -> None:
    plan = plan_import(
        actor=cast.principal(cast.erin), environment=cast.development, entries=parse("dotenv", "\nA=1\n\nB=")
    )
    assert [(line.entry.place, str(line.verdict)) for line in plan.lines] == [(2, "new"), (4, "refused")]


def test_what_is_imported_never_becomes_a_reference(cast: Cast) -> None:
    keep(cast, "source")
    keep(cast, "resolving", "${development/source}", uses_references=True)
    actor = cast.principal(cast.alice)
    given = entries(new="${development/source}", resolving="x${development/source}")
    _, results = import_entries(actor=actor, environment=cast.development, entries=given)
    assert {result.name: result.done for result in results} == {"new": True, "resolving": False}
    assert not Secret.objects.get(name="new").uses_references
    assert value_of(cast, "resolving") == "${development/source}"


def test_a_column_saves_what_was_entered_as_one_import(
    cast: Cast, signed_in: Callable[[User], Client], events: Callable[..., list[Any]]
) -> None:
    for name in ("app/a", "app/b", "other"):
        keep(cast, name)
    editor = signed_in(cast.erin)
    page = editor.get(f"{COLUMN}&prefix=app")
    assert list(page.context["fields"]) == ["app/a", "app/b"]
    assert VALUE not in page.content.decode()
    loaded = editor.post(f"{COLUMN}&prefix=app", {"act": "load"})
    assert [field["cell"].value for field in loaded.context["fields"].values()] == [VALUE, VALUE]
    assert len(events("secret.export")) == 1
    rows = {
        "environment": "development", "name-0": "app/a", "value-0": "next",
        "name-1": "app/b", "value-1": "", "name-2": "app/new", "value-2": "first",
    }  # fmt: skip
    preview = editor.post(f"{COLUMN}&prefix=app", rows | {"act": "preview"})
    assert verdicts(preview.context["plan"]) == {"app/a": "changed", "app/new": "new"}
    digest = preview.context["plan"].digest
    saved = editor.post(f"{COLUMN}&prefix=app", rows | {"act": "import", "digest": digest})
    assert "Saved 2 secrets." in saved.content.decode()
    assert [value_of(cast, name) for name in ("app/a", "app/b", "app/new")] == ["next", VALUE, "first"]


def test_a_column_offers_a_reader_nothing(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    keep(cast, "app/a")
    reader = signed_in(cast.bob)
    assert "You need the Editor role" in reader.get(COLUMN).content.decode()
    answer = reader.post(COLUMN, {"act": "load"})
    assert VALUE not in answer.content.decode()
    assert "value-0" not in answer.content.decode()


def test_more_than_a_thousand_entries_are_refused_before_any_is_compared(cast: Cast, events: Events) -> None:
    keep(cast, "key")
    given = [Entry(place=place, name="key", value="v") for place in range(1001)]
    with pytest.raises(TooManyItems):
        plan_import(actor=cast.principal(cast.erin), environment=cast.development, entries=given)
    assert events("secret.compare") == []
    plan = plan_import(actor=cast.principal(cast.erin), environment=cast.development, entries=given[1:])
    assert len(plan.lines) == 1000


def test_a_row_that_was_edited_is_not_written_over(cast: Cast, sql: Callable[..., None]) -> None:
    keep(cast, "edited")
    sql("UPDATE secrets_app_secret SET previous_number = 1 WHERE name = 'edited'")
    plan, results = import_entries(
        actor=cast.principal(cast.erin),
        environment=cast.development,
        entries=entries(edited="other", fresh="f"),
    )
    assert verdicts(plan) == {"edited": "refused", "fresh": "new"}
    assert [result.name for result in results] == ["fresh"]
    assert SecretVersion.objects.filter(secret__name="edited").count() == 1


@pytest.mark.parametrize("what", ["changed", "deleted", "given away"])
def test_what_happens_between_the_plan_and_the_write_is_not_written_over(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The plan is made again by the import itself; somebody writes after that."""
    kept, alice = keep(cast, "key"), cast.principal(cast.alice)
    given = entries(key="mine", fresh="f")

    def meanwhile(**options: Any) -> Plan:
        plan = plan_import(**options)
        if what == "changed":
            change(cast, kept, "theirs")
        elif what == "deleted":
            lifecycle.delete(actor=alice, secret=Secret.objects.select_related("environment").get(pk=kept.pk))
        else:
            keep(cast, "fresh", "theirs")
        return plan

    monkeypatch.setattr(importing, "plan_import", meanwhile)
    actor = cast.principal(cast.erin)
    if what == "given away":
        with pytest.raises(NameTaken, match="Nothing was written"):
            import_entries(actor=actor, environment=cast.development, entries=given)
        assert (value_of(cast, "fresh"), value_of(cast, "key")) == ("theirs", VALUE)
        return
    _, results = import_entries(actor=actor, environment=cast.development, entries=given)
    assert {result.name: result.done for result in results} == {"key": False, "fresh": True}
    assert SecretVersion.objects.filter(secret=kept).count() == (2 if what == "changed" else 1)


def test_what_an_earlier_part_wrote_changes_no_plan_of_a_later_one_that_refuses_it(cast: Cast) -> None:
    entries = [
        Entry(place=1, name="twice", value=VALUE, fault="again"),
        Entry(place=2, name="new", value="1"),
    ]
    alice, place = cast.principal(cast.alice), cast.development
    shown = plan_import(actor=alice, environment=place, entries=entries)
    keep(cast, "twice")
    plan, results = import_entries(actor=alice, environment=place, entries=entries, digest=shown.digest)
    assert ([line.verdict for line in plan.lines], len(results)) == ([Verdict.REFUSED, Verdict.NEW], 1)


def test_a_name_of_any_earlier_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "MAX_ITEMS", 2)
    entries = [Entry(place=place, name=name) for place, name in enumerate("abcdae", 1)]
    third, parts = bulk._part_of(entries, 3)
    assert parts == 3
    assert [(entry.name, bool(entry.fault)) for entry in third] == [("a", True), ("e", False)]
