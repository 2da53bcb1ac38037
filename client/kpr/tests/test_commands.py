"""The commands besides `run`, each against a served Keeper, with what each refusal tells."""

import json
import stat
import subprocess
from pathlib import Path

import pytest
from environments_app.models import PersonalToken, ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens.personal import issue_personal
from secrets_app.models import SecretVersion

from kpr import API_LEVEL, __version__
from kpr.__main__ import main
from kpr.errors import Exit
from kpr.signin import credentials
from kpr.tests.conftest import CANARY, MULTILINE, Inside, Kpr, Server, signed_out
from kpr.tests.test_levels import type_in

# The fixture `schema` needs the migrated database.
pytestmark = pytest.mark.django_db

NO_TOKEN = f"kpr_{'a' * 22}_{'b' * 43}"


@pytest.fixture
def writer(tmp_path: Path, server: Server) -> Kpr:
    return signed_out(tmp_path, {"KPR_SERVER": server.url, "KPR_TOKEN": server.editor})


def test_get_prints_exactly_the_value(kpr: Kpr) -> None:
    assert kpr("get", "app/tls/key").stdout == MULTILINE.encode()
    assert kpr("get", "app/db-url").stdout == CANARY.encode()
    shown = json.loads(kpr("get", "app/db-url", "--format", "json").stdout)
    assert shown == {"name": "app/db-url", "value": CANARY}


def test_list_shows_names_without_values_page_by_page(kpr: Kpr) -> None:
    done = kpr("list", "--format", "json")
    names = [row["name"] for row in json.loads(done.stdout)]
    assert names == sorted(names)
    assert len(names) > 1000
    table = kpr("list", "--prefix", "app")
    assert [line.split()[0] for line in table.stdout.decode().splitlines()] == [
        "app/db-url", "app/plain", "app/tls/key",
    ]  # fmt: skip
    assert CANARY.encode() not in done.stdout + table.stdout


@pytest.mark.parametrize(
    ("given", "options", "stored"),
    [("one\n", (), "one"), ("one\n\n", (), "one\n"), ("one\n", ("--exact",), "one\n"), (MULTILINE, ("--exact",), MULTILINE)],
)  # fmt: skip
def test_set_stores_what_standard_input_gives(
    writer: Kpr, given: str, options: tuple[str, ...], stored: str
) -> None:
    done = writer("set", "set/value", *options, input=given)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().startswith("Stored set/value in development, version ")
    assert writer("get", "set/value").stdout.decode() == stored


def test_what_is_stored_outside_the_projects_prefix_is_said(writer: Kpr, tmp_path: Path) -> None:
    """`kpr run` here would leave it out, without a word."""
    (tmp_path / ".env").write_text("A=1\n")
    imported = ("import", str(tmp_path / ".env"), "--yes")
    outside = [("set", "outside"), ("generate", "out/of", "--replace"), imported]
    for command in outside:
        done = writer(*command, input="x\n", env={"KPR_PREFIX": "team"})
        assert done.returncode == 0, done.stderr
        assert "outside team, the prefix of list, run and export here: " in done.stderr.decode()
        assert "--below team" in done.stderr.decode()
    inside = [("set", "team/inside"), (*imported, "--below", "team")]
    for command in inside:
        done = writer(*command, input="x\n", env={"KPR_PREFIX": "team"})
        assert (done.returncode, done.stderr) == (0, b"")


def test_set_sends_the_type_and_the_comment(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, "value")
    assert main(("set", "app/key", "--type", "API_KEY", "--comment", "renewed by hand")) == Exit.DONE
    version = SecretVersion.objects.select_related("secret").get(secret__name="app/key")
    assert (version.secret.secret_type, version.comment) == ("API_KEY", "renewed by hand")


def test_export_is_the_servers_own(kpr: Kpr) -> None:
    done = kpr("export", "--prefix", "app", "--format", "dotenv")
    assert f"APP_DB_URL={CANARY}\n" in done.stdout.decode()
    assert (
        json.loads(kpr("export", "--prefix", "app", "--format", "json").stdout)["app/plain"] == "plain value"
    )


def test_sign_in_stores_the_token_for_its_server_until_sign_out(tmp_path: Path, server: Server) -> None:
    kpr = signed_out(tmp_path, {"KPR_SERVER": server.url})
    assert kpr("whoami").returncode == Exit.SIGN_IN
    done = kpr("login", "--token", input=server.reader + "\n")
    assert done.returncode == 0, done.stderr
    assert b"mode 0600" in done.stdout
    path = tmp_path / ".config" / "kpr" / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    del kpr.variables["KPR_SERVER"]
    who = json.loads(kpr("whoami", "--format", "json").stdout)
    assert (who["name"], who["server"]) == ("reader", server.url)
    assert kpr("logout").returncode == 0
    assert server.reader not in path.read_text()
    assert kpr("whoami").returncode == Exit.SIGN_IN


def test_sign_out_revokes_the_token_of_a_person_and_none_of_a_program(
    inside: Inside, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, personal = issue_personal(actor=cast.principal(cast.bob), name="laptop")
    monkeypatch.delenv("KPR_TOKEN")
    for text in (inside.token, personal):
        credentials.store_token("https://keeper.example.com", text, storage="file")
        assert main(("logout",)) == 0
        assert credentials.stored_token("https://keeper.example.com") == ""
    assert PersonalToken.objects.get().revoked_at
    assert ServiceToken.objects.get(name="kpr").revoked_at is None


@pytest.mark.parametrize("given", ["s.another-kind-of-token", NO_TOKEN])
def test_a_wrong_token_is_not_stored(tmp_path: Path, server: Server, given: str) -> None:
    kpr = signed_out(tmp_path, {"KPR_SERVER": server.url})
    done = kpr("login", "--token", input=given)
    assert done.returncode == Exit.SIGN_IN
    assert given.encode() not in done.stderr + done.stdout
    assert not (tmp_path / ".config").exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_token_that_others_can_read_is_refused(tmp_path: Path, server: Server, mode: int) -> None:
    kpr = signed_out(tmp_path, {"KPR_SERVER": server.url})
    assert kpr("login", "--token", input=server.reader).returncode == 0
    path = tmp_path / ".config" / "kpr" / "credentials.json"
    path.chmod(mode)
    done = kpr("whoami")
    assert (done.returncode, b"chmod 600" in done.stderr) == (Exit.USAGE, True)


def test_the_token_of_the_environment_does_not_follow_a_project_file(tmp_path: Path, server: Server) -> None:
    kpr = signed_out(tmp_path, {"KPR_TOKEN": server.reader})
    (tmp_path / ".kpr.toml").write_text(f'server = "{server.url}"\n')
    done = kpr("whoami")
    assert done.returncode == Exit.SIGN_IN
    assert b"set KPR_SERVER" in done.stderr
    assert kpr("whoami", "--server", server.url).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("get", "app/absent"), Exit.NOT_FOUND),
        (("get", "app/plain", "-e", "nowhere"), Exit.NOT_FOUND),
        (("set", "app/plain"), Exit.FORBIDDEN),
        (("get", "no name"), Exit.REFUSED),
        (("get",), Exit.USAGE),
        (("fly",), Exit.USAGE),
        (("get", "app/plain", "--", "true"), Exit.USAGE),
        (("get", "app/plain", "--server", "http://keeper.example.com"), Exit.USAGE),
        (("get", "app/plain", "--server", "http://127.0.0.1:1"), Exit.UNREACHABLE),
        (("run", "-e", "development"), Exit.OWN_FAILURE),
    ],
)
def test_each_refusal_is_one_line_and_has_its_code(kpr: Kpr, arguments: tuple[str, ...], code: Exit) -> None:
    done = kpr(*arguments, input="value")
    assert (done.returncode, done.stdout) == (code, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("kpr: ")


def test_a_refusal_is_a_document_where_that_is_asked_for(kpr: Kpr) -> None:
    done = kpr("get", "app/absent", "--format", "json")
    assert json.loads(done.stderr)["code"] == Exit.NOT_FOUND == done.returncode


def test_init_writes_a_project_file_once(tmp_path: Path, server: Server) -> None:
    kpr = signed_out(tmp_path, {})
    wanted = ("--server", server.url, "-e", "development", "--prefix", "app", "--require", "app/plain")
    assert kpr("init", *wanted).returncode == 0
    assert (tmp_path / ".kpr.toml").read_text().splitlines()[1:] == [
        f'server = "{server.url}"', 'environment = "development"', 'prefix = "app"', 'required = ["app/plain"]',
    ]  # fmt: skip
    assert kpr("login", "--token", input=server.reader).returncode == 0
    assert kpr.run("sh", "-c", 'printf %s "$APP_PLAIN"').stdout == b"plain value"
    assert kpr("init", *wanted).returncode == Exit.USAGE


def test_version_names_both_sides(kpr: Kpr, server: Server) -> None:
    told = json.loads(kpr("version", "--format", "json").stdout)
    assert (told["kpr"], told["api_level"]) == (__version__, API_LEVEL)
    assert told["server"]["api_level"] == API_LEVEL


def test_standard_output_that_is_closed_is_no_crash(kpr: Kpr) -> None:
    listing = " ".join(kpr.command("list"))
    done = subprocess.run(
        ["bash", "-c", f"{listing} | head -1"],
        env=kpr.variables,
        cwd=kpr.home,
        capture_output=True,
        check=False,
    )
    assert (done.stdout.count(b"\n"), done.stderr) == (1, b"")
