"""The rules that need no server: names, settings, where a token is kept, and the page of docs."""

import os
import pwd
import re
import subprocess
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import tomllib

from kpr.__main__ import main
from kpr.api import Answer, Api
from kpr.cli.reference import BEGIN, commands, rewritten
from kpr.errors import Exit, NamesError, SignInError, UsageError
from kpr.running.naming import MAX_VARIABLE_BYTES, Naming, variables_of
from kpr.running.run import naming_of
from kpr.settings import (
    Project,
    Settings,
    cache_folder,
    config_folder,
    load_project,
    normal_server,
    resolve,
    simple_toml,
    write_project,
)
from kpr.signin import credentials
from kpr.signin.workload import token_by_trust
from kpr.tests.conftest import CLIENT, closed

PAGE = CLIENT.parent / "docs" / "kpr.md"
TOKEN = f"kpr_{'a' * 22}_{'b' * 43}"
SERVER = "https://keeper.example.com"


@pytest.mark.parametrize(
    ("transformer", "variable"),
    [
        ("upper-snake", "PAYMENTS_STRIPE_KEY"),
        ("lower-snake", "payments_stripe_key"),
        ("camel", "paymentsStripeKey"),
        ("upper-camel", "PaymentsStripeKey"),
        ("tf-var", "TF_VAR_payments_stripe_key"),
        ("dotnet", "Payments__StripeKey"),
        ("last", "STRIPE_KEY"),
    ],
)
def test_a_name_becomes_a_variable(transformer: str, variable: str) -> None:
    assert Naming(transformer=transformer).variable("payments/stripe-key") == variable


def test_what_is_no_variable_is_refused() -> None:
    with pytest.raises(NamesError):
        Naming(transformer="none").variable("payments/stripe-key")
    assert Naming().variable("1st/key") == "_1ST_KEY"
    assert Naming(stripped=("payments",)).variable("payments/stripe-key") == "STRIPE_KEY"


def test_a_value_with_nul_is_refused_without_its_text() -> None:
    with pytest.raises(NamesError, match="NUL byte") as raised:
        variables_of({"a/b": "before\0after"}, Naming(), {})
    assert "before" not in str(raised.value)


def test_a_value_beyond_the_kernels_limit_is_refused() -> None:
    value = "x" * (MAX_VARIABLE_BYTES - len("A=") - 1)
    found = variables_of({"a": value}, Naming(), {})
    # What passes the check passes the kernel as well.
    done = subprocess.run(["/usr/bin/env"], env=found.values, capture_output=True, check=True)
    assert len(done.stdout) == MAX_VARIABLE_BYTES
    with pytest.raises(NamesError, match="--file A=a"):
        variables_of({"a": value + "x"}, Naming(), {})
    with pytest.raises(OSError, match="too long"):
        subprocess.run(["/usr/bin/env"], env={"A": value + "x"}, check=False)


def test_an_equal_variable_is_no_matter() -> None:
    found = variables_of({"a": "1"}, Naming(is_strict=True), {"A": "1"})
    assert (found.values, found.warnings) == ({"A": b"1"}, [])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("keeper.example.com", SERVER),
        ("HTTPS://Keeper.Example.com/", SERVER),
        ("https://host/keeper/", "https://host/keeper"),
        ("http://localhost:8989", "http://localhost:8989"),
    ],
)
def test_a_server_has_one_spelling(given: str, expected: str) -> None:
    assert normal_server(given).lower() == expected


@pytest.mark.parametrize("given", ["http://keeper.example.com", "ftp://x", "https://u:p@x", "https://x?y"])
def test_another_address_is_refused(given: str) -> None:
    with pytest.raises(UsageError):
        normal_server(given)


def test_a_project_is_found_up_to_its_repository(tmp_path: Path) -> None:
    (tmp_path / ".kpr.toml").write_text('environment = "outer"\n')
    inner = tmp_path / "repository" / "deep"
    inner.mkdir(parents=True)
    assert load_project(inner).environment == "outer"
    (tmp_path / "repository" / ".git").mkdir()
    assert load_project(inner).environment == ""


@pytest.mark.parametrize(
    "text", ["nonsense", "unknown = 1\n", "server = 1\n", "required = 1\n", 'strict = "x"\n']
)
def test_a_wrong_project_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / ".kpr.toml").write_text(text)
    with pytest.raises(UsageError):
        load_project(tmp_path)


def test_a_project_file_that_others_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ".kpr.toml"
    path.write_text('environment = "x"\n')
    path.chmod(0o666)
    with pytest.raises(UsageError, match="another account"):
        load_project(tmp_path)


def test_a_project_file_of_another_account_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, stat = tmp_path / ".kpr.toml", Path.stat
    path.write_text('environment = "x"\n')
    path.chmod(0o644)

    def owned_by(uid: int) -> None:
        def told(each: Path, **options: Any) -> os.stat_result:
            facts = stat(each, **options)
            return os.stat_result((*facts[:4], uid, *facts[5:])) if each == path else facts

        monkeypatch.setattr(Path, "stat", told)

    for own in (0, os.getuid()):
        owned_by(own)
        assert load_project(tmp_path).environment == "x"
    owned_by(54321)
    with pytest.raises(UsageError, match="another account"):
        load_project(tmp_path)


def test_a_written_project_file_is_read_as_it_was_meant(tmp_path: Path) -> None:
    path = tmp_path / ".kpr.toml"
    write_project(path, {"server": SERVER, "environment": 'a"\\\n', "required": ["x", "y"], "strict": True})
    project = load_project(tmp_path)
    assert (project.environment, project.required, project.strict) == ('a"\\\n', ("x", "y"), True)


@pytest.mark.parametrize(
    "text",
    [
        'server = "https://k.example"\n\n# a comment\nprefix="a/b" # behind\n  strict = true\noffline_hours = 12\n',
        'required = ["a/b", "c"] # two\nname_transformer = "dotnet"\nstrip_prefix = false',
        'prefix = "\\u0041\\"#\\"" # "',
    ],
    ids=("kinds", "a list", "escapes"),
)
def test_a_project_file_needs_no_package_on_python_3_10(text: str) -> None:
    assert simple_toml(text) == tomllib.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "[table]",
        "a.b = 1",
        "prefix = 'a'",
        'a = "1"\na = "2"',
        "a =",
        "a = nonsense",
        'a = "1" b',
        'a = """1"""',
        "a",
    ],
)
def test_other_toml_is_refused_there_and_not_misread(text: str) -> None:
    with pytest.raises(ValueError, match="tomli"):
        simple_toml(text)


def test_an_option_wins_over_a_variable_and_that_over_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".kpr.toml").write_text(f'server = "{SERVER}"\nenvironment = "file"\nprefix = "p"\n')
    variables = {"HOME": str(tmp_path)}
    found = resolve(Namespace(), variables)
    assert (found.server, found.environment, found.prefix) == (SERVER, "file", "p")
    assert not found.is_server_explicit
    found = resolve(Namespace(), {**variables, "KPR_ENVIRONMENT": "variable", "KPR_SERVER": "https://b"})
    assert (found.server, found.environment, found.is_server_explicit) == ("https://b", "variable", True)
    found = resolve(
        Namespace(environment="option", prefix=[""]), {**variables, "KPR_ENVIRONMENT": "variable"}
    )
    assert (found.environment, found.prefix) == ("option", "")


@pytest.mark.parametrize("given", ["options", "project"])
def test_the_project_switches_on_what_an_option_does(given: str) -> None:
    wanted: dict[str, Any] = {"strict": True, "strip_prefix": True, "name_transformer": "camel"}
    off = {"strict": False, "strip_prefix": False, "name_transformer": ""}
    options = Namespace(**(wanted if given == "options" else off), allow_loader_variables=False)
    project = Project(**(wanted if given == "project" else {}))
    settings = Settings(SERVER, is_server_explicit=True, environment="x", prefix="app", project=project)
    naming = naming_of(options, settings)
    assert (naming.transformer, naming.stripped, naming.is_strict) == ("camel", ("app",), True)


def test_an_account_without_a_home_folder_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])
    assert config_folder() == Path("/.config/kpr")
    assert cache_folder() == Path("/.cache/kpr")
    assert load_project(Path("/nowhere")) == Project()


def test_a_home_folder_ends_the_search_for_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies above it may be written by others."""
    (tmp_path / ".kpr.toml").write_text('environment = "outer"\n')
    home = tmp_path / "home"
    (home / "deep").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    assert load_project(home / "deep").environment == ""


def test_a_working_folder_that_cannot_be_entered_or_is_gone_has_no_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"KPR_SERVER": SERVER, "HOME": str(tmp_path)}
    with closed(tmp_path / "closed") as folder:
        monkeypatch.setattr(Path, "cwd", lambda: folder)
        assert resolve(Namespace(), variables).project == Project()
        assert load_project(folder / "deep") == Project()
    monkeypatch.undo()
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert resolve(Namespace(), variables).project == Project()


# --- The keyring ---------------------------------------------------------------------------------


def test_the_keyring_is_taken_where_it_works(keyring: Path) -> None:
    assert credentials.store_token(SERVER, TOKEN, storage="auto") == "keyring"
    assert TOKEN in keyring.read_text()
    assert TOKEN not in credentials.credentials_file().read_text()
    assert credentials.stored_token(SERVER) == TOKEN
    assert credentials.stored_token("https://another") == ""
    assert credentials.forget_token(SERVER)
    assert TOKEN not in keyring.read_text()


def test_a_locked_keyring_is_told_and_not_passed_over(keyring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials.store_token(SERVER, TOKEN, storage="auto")
    monkeypatch.setenv("FAKE_LOCKED", "1")
    with pytest.raises(SignInError, match="locked"):
        credentials.stored_token(SERVER)
    with pytest.raises(SignInError, match="locked"):
        credentials.forget_token(SERVER)
    with pytest.raises(UsageError, match="keyring"):
        credentials.store_token(SERVER, TOKEN, storage="keyring")
    assert credentials.store_token(SERVER, TOKEN, storage="auto") == "file"


def test_a_backend_without_a_store_is_none(keyring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_PRIORITY", "0")
    assert credentials.store_token(SERVER, TOKEN, storage="auto") == "file"
    assert credentials.stored_token(SERVER) == TOKEN


# --- The page ------------------------------------------------------------------------------------


def test_the_page_has_the_present_reference() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert BEGIN in page
    assert rewritten(page) == page, "run: make client"


def test_the_page_has_every_exit_code() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Exit codes")[2].partition("## ")[0]
    assert {
        int(each)
        for row in re.findall(r"^\| ([0-9, ]+) \|", section, re.MULTILINE)
        for each in row.split(",")
    } == {int(code) for code in Exit}


def test_no_option_takes_a_secret() -> None:
    for name, parser in commands().items():
        for action in parser._actions:
            takes_value = action.option_strings and action.nargs != 0
            assert not (takes_value and re.search(r"token|password|value|secret$", action.dest)), (
                name,
                action,
            )


# --- Trusts --------------------------------------------------------------------------------------


def test_a_trust_is_asked_only_at_a_server_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".kpr.toml").write_text(f'server = "{SERVER}"\nenvironment = "x"\n')
    for name in ("KPR_SERVER", "KPR_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KPR_TRUST", "ci")
    assert main(["list"]) == Exit.USAGE
    assert "set KPR_SERVER" in capsys.readouterr().err


def test_a_trust_gives_a_token_for_that_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def send(api: Api, method: str, path: str, **options: object) -> Answer:
        asked.append((api.server, method, path, options["body"]))
        return Answer(201, {}, b'{"token": "kpr_short"}')

    monkeypatch.setattr(Api, "send", send)
    monkeypatch.setenv("KPR_JWT", "signed")
    assert token_by_trust(SERVER, "ci") == "kpr_short"
    assert asked == [(SERVER, "POST", "auth/jwt", {"trust": "ci", "jwt": "signed"})]
    monkeypatch.delenv("KPR_JWT")
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_URL", raising=False)
    with pytest.raises(SignInError, match="KPR_JWT"):
        token_by_trust(SERVER, "ci")
