"""Another Keeper as source, over its API: this very one serves, and its development goes to production."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.models import Role
from environments_app.tests.cast import Cast
from environments_app.tokens import service as tokens
from secrets_app.models import Secret, SecretVersion, VersionOrigin
from secrets_app.services import guarded, lifecycle
from secrets_app.services.versions import delete_versions, destroy_versions
from secrets_app.tests.kept import change, keep
from secrets_app.types.registry import SecretType
from sync_app.errors import AnswerUnexpected, BadDestination, MountMissing
from sync_app.migration import service
from sync_app.migration.placing import How, Rule
from sync_app.migration.sources import keeper_live
from sync_app.migration.sources.base import FoundVersion
from sync_app.migration.sources.keeper_live import KeeperLive
from sync_app.models import Migration, MigrationLine
from sync_app.models.migration import LineState, MigrationState
from sync_app.tests.migration.driving import apply, value, words, work

Events = Callable[..., list[AuditEvent]]
UNICODE = 'pässwörd 🔑 \u2028 <&> "quoted" \\ \t'


@pytest.fixture
def there(cast: Cast, live_server: LiveServer) -> dict[str, str]:
    """The address, and a token of a reader of development."""
    _, token = tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.development, name="migration", role=Role.READER
    )
    return {"address": live_server.url, "token": token}


def start(cast: Cast, there: dict[str, str], prefix: str = "", place: str = "development") -> Migration:
    rule = Rule(place=place, how=How.ALL, environments={"": str(cast.production.uuid)}, prefix=prefix)
    migration = service.start(
        actor=cast.principal(cast.alice), source="keeper-live", settings={"address": there["address"]},
        credentials={"token": there["token"]}, rules=[rule],
    )  # fmt: skip
    return work(migration)


def carried(name: str) -> Secret:
    return Secret.objects.select_related("environment").get(environment__name="production", name=name)


def furnish(cast: Cast) -> Secret:
    alice = cast.principal(cast.alice)
    secret = keep(cast, "shop/db", "one", tags=["team:shop"], owner="shop", description="the database")
    for number, text in enumerate(("two", UNICODE, "four", "five"), 2):
        change(cast, secret, text, comment=f"the {number}.")
    delete_versions(actor=alice, secret=Secret.objects.get(pk=secret.pk), numbers=[2])
    destroy_versions(actor=alice, secret=Secret.objects.get(pk=secret.pk), numbers=[4])
    keep(cast, "shop/db/below", "another")
    keep(cast, "json", '{"a": 1.10, "b": "ü"}', secret_type=SecretType.JSON)
    return Secret.objects.get(pk=secret.pk)


def test_versions_come_with_numbers_states_times_and_authors(
    cast: Cast, there: dict[str, str], events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pages of each list.
    monkeypatch.setattr(keeper_live, "_PAGE", "2")
    secret = furnish(cast)
    migration = start(cast, there)
    assert words(migration) == {"shop/db": "new", "shop/db/below": "new", "json": "new"}
    apply(cast, migration, who=cast.alice)
    assert (migration.state, migration.error) == (MigrationState.DONE, "")
    here = carried("shop/db")
    assert (here.current_number, here.owner, here.description, here.tags) == (
        5, "shop", "the database", ["team:shop"],
    )  # fmt: skip
    # What came without its value is gone here; what it was there is told.
    assert [here.rules.state(number) for number in range(1, 6)] == ["", "destroyed", "", "destroyed", ""]
    states = VersionOrigin.objects.filter(version__secret=here).order_by("version__number")
    assert list(states.values_list("state", flat=True)) == ["", "deleted", "", "destroyed", ""]
    read = {number: value(cast, "shop/db", number, "production") for number in (1, 3, 5)}
    assert read == {1: "one", 3: UNICODE, 5: "five"}
    mine = {row.number: row for row in SecretVersion.objects.filter(secret=here).select_related("origin")}
    for row in SecretVersion.objects.filter(secret=secret):
        origin = mine[row.number].origin
        told = (origin.system, origin.place, origin.path, origin.number, origin.author, origin.written_at)
        assert told == ("keeper", "development", "shop/db", row.number, row.author, row.created_at)
        assert mine[row.number].comment == row.comment
    whole = carried("json")
    assert (whole.secret_type, value(cast, "json", environment="production")) == (
        "JSON", '{"a": 1.10, "b": "ü"}',
    )  # fmt: skip
    # What it read is on record there, twice: once for the plan, once to store it.
    assert len([each for each in events(Action.SECRET_REVEAL) if each.actor_name == "migration"]) == 2 * 5


def test_a_repeat_brings_what_is_newer_and_what_both_changed_waits(cast: Cast, there: dict[str, str]) -> None:
    furnish(cast)
    apply(cast, start(cast, there), who=cast.alice)
    assert set(words(start(cast, there)).values()) == {"same"}
    change(cast, Secret.objects.get(environment=cast.development, name="shop/db"), "six")
    change(cast, Secret.objects.get(environment=cast.development, name="json"), '{"a": 2}')
    change(cast, carried("json"), '{"a": 3}')
    migration = apply(cast, start(cast, there), who=cast.alice)
    assert words(migration) == {
        "shop/db": "newer", "shop/db/below": "same", "json": "changed on both sides",
    }  # fmt: skip
    assert carried("shop/db").current_number == 6
    assert value(cast, "json", environment="production") == '{"a": 3}'


def test_an_origin_of_before_stays_the_first(cast: Cast, there: dict[str, str]) -> None:
    furnish(cast)
    apply(cast, start(cast, there), who=cast.alice)
    _, token = tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.production, name="onwards", role=Role.READER
    )
    rule = Rule(place="production", how=How.ALL, environments={"": str(cast.development.uuid)}, prefix="back")
    migration = service.start(
        actor=cast.principal(cast.alice), source="keeper-live", settings={"address": there["address"]},
        credentials={"token": token}, rules=[rule],
    )  # fmt: skip
    apply(cast, work(migration), who=cast.alice)
    first = SecretVersion.objects.get(secret__name="shop/db", secret__environment=cast.development, number=1)
    origin = VersionOrigin.objects.get(version__secret__name="back/shop/db", version__number=1)
    assert (origin.place, origin.author, origin.written_at) == ("production", first.author, first.created_at)
    there_again = Secret.objects.get(name="back/shop/db")
    assert there_again.rules.deleted == Secret.objects.get(pk=first.secret_id).rules.deleted != {}
    # One that was changed by SQL is not shown.
    VersionOrigin.objects.filter(version__secret=carried("shop/db"), version__number=1).update(
        author="mallory"
    )
    browser = Client()
    browser.force_login(cast.alice)
    rows = browser.get(f"/api/secrets/{carried('shop/db').pk}/versions").json()["results"]
    assert [bool(row["origin"]) for row in rows] == [True, True, True, True, False]
    assert (rows[3]["state"], rows[3]["origin"]["state"], rows[0]["origin"]["state"]) == (
        "destroyed",
        "deleted",
        "",
    )
    rows = browser.get(f"/api/secrets/{first.secret_id}/versions").json()["results"]
    assert (rows[3]["state"], bool(rows[3]["deleted_at"]), rows[3]["origin"]) == ("deleted", True, None)


def test_what_the_other_keeper_refuses_is_told(cast: Cast, there: dict[str, str]) -> None:
    secret = furnish(cast)
    guarded.guard(actor=cast.principal(cast.alice), secret=secret)
    migration = start(cast, there)
    assert words(migration) == {"shop/db": "unreadable", "shop/db/below": "new", "json": "new"}
    assert "guarded" in MigrationLine.objects.get(migration=migration, path="shop/db").reason
    other = start(cast, there, place="staging")
    assert (other.state, "sees no environment staging" in other.error) == (MigrationState.FAILED, True)
    wrong = start(cast, {**there, "token": "kpr_wrong"})
    assert (wrong.state, "does not accept" in wrong.error) == (MigrationState.FAILED, True)
    _, viewer = tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.development, name="viewer", role=Role.VIEWER
    )
    blind = start(cast, {**there, "token": viewer})
    assert words(blind)["json"] == "unreadable"


def test_what_changes_or_goes_between_plan_and_apply_is_left(cast: Cast, there: dict[str, str]) -> None:
    furnish(cast)
    migration = start(cast, there)
    change(cast, Secret.objects.get(name="json"), '{"a": 2}')
    gone = Secret.objects.get(name="shop/db/below")
    lifecycle.delete(actor=cast.principal(cast.alice), secret=gone)
    apply(cast, migration, who=cast.alice)
    states = dict(MigrationLine.objects.filter(migration=migration).values_list("path", "state"))
    assert states == {
        "json": LineState.LEFT, "shop/db": LineState.CARRIED, "shop/db/below": LineState.LEFT,
    }  # fmt: skip


def test_the_page_and_the_command_offer_it(cast: Cast, there: dict[str, str], tmp_path: Path) -> None:
    keep(cast, "shop/db", "one")
    browser = Client()
    browser.force_login(cast.alice)
    assert "Another Keeper" in browser.get("/migrations").content.decode()
    assert "--role reader" in browser.get("/migrations/new?source=keeper-live").content.decode()
    form = {
        "setting-address": there["address"], "credential-token": there["token"],
        "rules": "development=production:page",
    }  # fmt: skip
    browser.post("/migrations/new?source=keeper-live", form)
    assert words(work(Migration.objects.get())) == {"shop/db": "new"}
    token, out = tmp_path / "token", StringIO()
    token.write_text(there["token"], encoding="utf-8")
    call_command(
        "migrate_from", "keeper-live", there["address"], "--token-file", str(token), "--rule",
        "development=production:command", "--apply", "--format", "json", stdout=out,
    )  # fmt: skip
    assert json.loads(out.getvalue())["counts"]["states"] == {"carried": 1}
    token.write_text("", encoding="utf-8")
    with pytest.raises(CommandError, match="enter a token"):
        call_command("migrate_from", "keeper-live", there["address"], "--token-file", str(token))


VERSION = {
    "number": 1, "created_at": "2026-01-01T00:00:00Z", "author": "a", "comment": "", "is_current": True,
    "state": "readable",
}  # fmt: skip
ROW = {"id": 1, "name": "a", "environment": "production", "version": 1, "secret_type": "TEXT"}


@pytest.mark.parametrize(
    ("row", "versions"),
    [
        (ROW, [{**VERSION, "number": 0}]),
        (ROW, [VERSION, VERSION]),
        ({**ROW, "version": 2**31}, [{**VERSION, "number": 2**31}]),
        ({**ROW, "version": "x"}, [VERSION]),
        ({**ROW, "secret_type": "NONE"}, [VERSION]),
        (ROW, [{**VERSION, "created_at": "2026-01-01T00:00:00"}]),
        (ROW, [{**VERSION, "state": "new"}]),
        (ROW, [{**VERSION, "origin": "x"}]),
        (ROW, ["x"]),
        (ROW, []),
    ],
)
def test_an_answer_that_is_no_keepers_is_no_secret(row: Any, versions: Any) -> None:
    with (
        answering({"/api/secrets?": {"results": [row]}, "/versions": {"results": versions}}) as source,
        source,
        pytest.raises(AnswerUnexpected),
    ):
        source.find("production", "a")


def test_a_version_that_is_being_prepared_there_stays_there() -> None:
    prepared = {**VERSION, "number": 2, "is_current": False}
    answers = {"/api/secrets?": {"results": [ROW]}, "/versions": {"results": [VERSION, prepared]}}
    with answering(answers) as source, source:
        found = source.find("production", "a")
    assert ([each.number for each in found.versions], found.current, found.skip) == ([1], 1, "")


def test_what_a_file_has_brought_is_known(
    cast: Cast, there: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(cast)
    name = Path(str(connection.settings_dict["NAME"])).name
    monkeypatch.setattr("builtins.input", lambda _question: name)
    tmp_path.chmod(0o700)
    path = str(tmp_path / "all.jsonl")
    call_command("export_all", "json", path, "--plain", "--environment", "development", stdout=StringIO())
    rule = "development=production"
    call_command("migrate_from", "keeper", path, "--rule", rule, "--apply", stdout=StringIO())
    assert set(words(start(cast, there)).values()) == {"same"}
    change(cast, Secret.objects.get(environment=cast.development, name="shop/db"), "six")
    assert words(start(cast, there))["shop/db"] == "newer"


def test_a_server_without_an_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = {"results": [{"name": "production"}], "next": "http://elsewhere.example/?cursor=x"}
    with answering({"/api/environments": endless}) as source, source, pytest.raises(AnswerUnexpected):
        source.places()
    with answering({"/api/environments": []}) as source, source, pytest.raises(AnswerUnexpected):
        source.places()
    with answering({"/api/environments": {"results": []}}) as source, source, pytest.raises(MountMissing):
        list(source.paths("production"))
    swapped = {"/versions/1": {"number": 2, "value": "x"}}
    with answering(swapped) as source, source, pytest.raises(AnswerUnexpected):
        source.open("production", "a", FoundVersion(number=1, identifier="1"))


def test_a_name_that_is_the_number_of_another_environment_brings_none_of_its_secrets() -> None:
    rows = [{"environment": "2", "name": "own"}, {"environment": "production", "name": "another's"}]
    answers = {"/api/environments": {"results": [{"name": "2"}]}, "/api/secrets?": {"results": rows}}
    with answering(answers) as source, source:
        assert list(source.paths("2")) == ["own"]


def test_a_secret_whose_versions_do_not_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_live, "_MAX_VERSIONS", 20)
    pages = count(1)

    def page(_path: str) -> Any:
        number = next(pages)
        # Its end is the test's: a server that never ends would have the next page for ever.
        return {
            "results": [{**VERSION, "number": number}],
            "next": f"/?cursor={number}" if number < 40 else None,
        }

    answers = {"/api/secrets?": {"results": [{**ROW, "version": 40}]}, "/versions": page}
    with answering(answers) as source, source, pytest.raises(AnswerUnexpected):
        source.find("production", "a")
    assert next(pages) == 22


@contextmanager
def answering(answers: dict[str, Any]) -> Iterator[KeeperLive]:
    """Yield a source whose server answers each request by the part of the address that fits."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = next((answer for part, answer in answers.items() if part in self.path), None)
            found = found(self.path) if callable(found) else found
            body = json.dumps(found).encode()
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield KeeperLive(settings={"address": address}, credentials={"token": "t"})
        finally:
            server.shutdown()


def test_what_cannot_be_is_refused_before_anything_is_asked() -> None:
    good = {"address": "https://keeper.example"}
    for settings, credentials in (
        (good, {}),
        ({"address": "ftp://x"}, {"token": "t"}),
        ({"address": "https://u:p@x"}, {"token": "t"}),
        ({**good, "ca_certificate": "no PEM"}, {"token": "t"}),
    ):
        with pytest.raises(BadDestination):
            KeeperLive(settings=settings, credentials=credentials)
