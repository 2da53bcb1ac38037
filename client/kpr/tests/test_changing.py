"""The commands that change one secret, what is said of a missing one, and several prefixes."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from environments_app.models import Environment
from environments_app.tests.cast import Cast
from secrets_app.models import Secret, SecretVersion
from secrets_app.services.versions import delete_versions, destroy_versions

from kpr.__main__ import main
from kpr.cli.parser import ALPHABETS
from kpr.errors import Exit
from kpr.tests.conftest import CANARY, Inside, Server, signed_out
from kpr.tests.conftest import Kpr as Process

Kpr = Callable[..., tuple[int, str, str]]


@pytest.fixture
def kpr(inside: Inside, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Kpr:
    def run(*arguments: str, given: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        code = main(arguments)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_generate_stores_a_random_value_and_prints_it_only_on_request(kpr: Kpr) -> None:
    code, out, err = kpr("generate", "app/key")
    value = kpr("get", "app/key")[1]
    assert (code, err, len(value)) == (0, "", 32)
    assert value not in out
    assert set(value) <= set(ALPHABETS["letters-digits"])

    again, _, refusal = kpr("generate", "app/key")
    assert (again, "--replace" in refusal) == (Exit.REFUSED, True)
    assert kpr("get", "app/key")[1] == value

    code, out, _ = kpr(
        "generate", "app/key", "--replace", "--length", "64", "--characters", "hex", "--reveal"
    )
    assert (code, out.strip()) == (0, kpr("get", "app/key")[1])
    assert out.strip() != value
    assert set(out.strip()) <= set(ALPHABETS["hex"])
    assert kpr("generate", "app/other", "--length", "7")[0] == Exit.USAGE


def test_versions_show_which_are_deleted_or_destroyed(kpr: Kpr, cast: Cast) -> None:
    for value in ("one", "two", "three"):
        kpr("set", "app/key", given=value)
    alice, secret = cast.principal(cast.alice), Secret.objects.get(name="app/key")
    secret = delete_versions(actor=alice, secret=secret, numbers=[2])
    destroy_versions(actor=alice, secret=secret, numbers=[1])

    told = json.loads(kpr("versions", "app/key", "--format", "json")[1])
    assert [(each["number"], each["state"]) for each in told] == [
        (3, "readable"), (2, "deleted"), (1, "destroyed"),
    ]  # fmt: skip
    lines = kpr("versions", "app/key")[1].splitlines()
    assert [line.split()[:2] for line in lines] == [["3*", "readable"], ["2", "deleted"], ["1", "destroyed"]]


def test_versions_and_a_rollback(kpr: Kpr) -> None:
    for value in ("one", "two"):
        kpr("set", "app/key", given=value)

    code, out, _ = kpr("versions", "app/key")
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, ["2*", "1"])
    assert "one" not in out
    assert json.loads(kpr("versions", "app/key", "--format", "json")[1])[1]["number"] == 1

    assert kpr("rollback", "app/key", "1")[0] == 0
    assert kpr("get", "app/key")[1] == "one"
    assert SecretVersion.objects.filter(secret__name="app/key").count() == 3
    assert kpr("rollback", "app/key", "9")[0] in {Exit.NOT_FOUND, Exit.REFUSED}


def test_rename_and_delete_read_no_value(kpr: Kpr, inside: Inside) -> None:
    kpr("set", "app/key", given=CANARY)
    asked = len(inside.asked)

    assert kpr("rename", "app/key", "app/other")[0] == 0
    code, _, err = kpr("delete", "app/other")
    assert (code, "--yes" in err) == (Exit.USAGE, True)
    assert Secret.objects.get(name="app/other").live
    assert kpr("delete", "app/other", "--yes")[0] == 0

    assert not Secret.objects.get(name="app/other").live
    assert not [each for each in inside.asked[asked:] if each.startswith("GET") and "/secrets/" in each]


def test_a_delete_in_a_protected_environment_waits(kpr: Kpr, cast: Cast) -> None:
    kpr("set", "app/key", given="value")
    Environment.objects.filter(pk=cast.development.pk).update(protected=True)
    place = Environment.objects.get(pk=cast.development.pk)
    place.protected = True
    place.save()

    assert kpr("delete", "app/key", "--yes")[0] == Exit.PENDING
    assert Secret.objects.get(name="app/key").live


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("stripe-key", "Names are full paths: did you mean billing/stripe-key?"),
        ("STRIPE-KEY", "Names are full paths: did you mean billing/stripe-key?"),
        ("billing/stripe-kye", "Did you mean billing/stripe-key?"),
        ("nothing/like-it", ""),
        ("ripe-key", ""),
    ],
)
@pytest.mark.parametrize("command", [("get",), ("run", "--only"), ("versions",), ("delete",)], ids=" ".join)
def test_what_is_missing_is_named(kpr: Kpr, command: tuple[str, ...], name: str, told: str) -> None:
    kpr("set", "billing/stripe-key", given="value")
    rest = ("--", "true") if command[0] == "run" else ()

    code, out, err = kpr(*command, name, *rest)

    assert code == (Exit.OWN_FAILURE if rest else Exit.NOT_FOUND)
    assert out == ""
    assert f"There is no secret {name}" in err
    assert ("did you mean" in err.lower()) == bool(told)
    assert told in err


@pytest.mark.parametrize(
    "arguments",
    [
        *(("list",), ("status",), ("get", "app/key"), ("export",), ("set", "app/key"), ("generate", "app/key")),
        *(("delete", "app/key"), ("versions", "app/key"), ("rollback", "app/key", "1"), ("rename", "app/key", "b")),
        ("import", "-"),
    ],
    ids=lambda each: each[0],
)  # fmt: skip
def test_an_unknown_environment_is_5_everywhere(kpr: Kpr, arguments: tuple[str, ...]) -> None:
    assert kpr(*arguments, "-e", "nowhere", given="A=1")[0] == Exit.NOT_FOUND


def test_nothing_to_work_with_is_told_and_is_an_error_where_that_is_asked_for(kpr: Kpr) -> None:
    kpr("set", "app/key", given="value")
    for arguments in (("list",), ("export",), ("export", "--format", "shell"), ("export", "--format", "csv"),
                      ("export", "--format", "kubernetes"), ("export", "--format", "yaml"),
                      ("export", "--format", "dotenv")):  # fmt: skip
        code, _, err = kpr(*arguments, "--prefix", "typo")
        assert (code, "0 secrets in development under typo" in err) == (0, True), arguments
        assert kpr(*arguments, "--prefix", "app")[2] == "", arguments
    code, _, err = kpr("run", "--prefix", "typo", "--strict", "--", "true")
    assert (code, "0 secrets" in err) == (Exit.OWN_FAILURE, True)


def test_several_prefixes_are_one_set(kpr: Kpr) -> None:
    for name in ("app/key", "billing/key", "other/key"):
        kpr("set", name, given=name)
    both = ("--prefix", "app", "--prefix", "billing/", "--prefix", "app")

    assert json.loads(kpr("export", *both, "--format", "json")[1]) == {
        "app/key": "app/key",
        "billing/key": "billing/key",
    }
    assert kpr("export", *both, "--format", "shell")[1].count("export ") == 2
    assert kpr("export", *both, "--format", "csv")[0] == Exit.USAGE
    assert [line.split()[0] for line in kpr("list", *both)[1].splitlines()] == ["app/key", "billing/key"]
    assert len(kpr("list", "--prefix", "app", "--prefix", "")[1].splitlines()) == 3
    assert kpr("init", *both)[0] == Exit.USAGE


def test_a_run_and_a_shell_have_several_prefixes(tmp_path: Path, server: Server) -> None:
    process = signed_out(tmp_path, {"KPR_SERVER": server.url, "KPR_TOKEN": server.reader})
    options = ("--prefix", "app", "--prefix", "large", "--strip-prefix")
    script = 'echo "$DB_URL" ${#ONE}'

    done = process.run("sh", "-c", script, options=options)
    shell = process("shell", *options, input=f"{script}\nexit 7\n", env={"SHELL": "/bin/sh"})

    assert done.stdout.decode() == f"{CANARY} 60000\n"
    assert (shell.returncode, shell.stdout) == (7, done.stdout)
    assert process("shell", env={"KPR_AGENT_SAFE": "1"}).returncode == Exit.OWN_FAILURE


def test_an_output_that_cannot_be_written_is_no_defect(tmp_path: Path, server: Server) -> None:
    process = signed_out(tmp_path, {"KPR_SERVER": server.url, "KPR_TOKEN": server.reader})

    def shell(script: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", script.replace("KPR", f"{sys.executable} -m kpr")],
            env=process.variables, cwd=tmp_path, capture_output=True, check=False,
        )  # fmt: skip

    full, closed = shell("KPR list > /dev/full"), shell("KPR list >&-")
    assert (full.returncode, full.stderr) == (Exit.OUTPUT, b"kpr: The output: No space left on device.\n")
    assert (closed.returncode, closed.stderr.count(b"\n")) == (Exit.OUTPUT, 1)
    assert b"closed" in closed.stderr
    assert shell("KPR run --only app/plain -- true >&-").returncode == 0
    for _ in range(3):
        piped = shell("KPR list | head -1")
        assert (piped.returncode, piped.stderr) == (0, b"")


def test_a_folder_that_cannot_be_written_is_named(process_home: Process) -> None:
    done = process_home("login", "--token", input=process_home.variables.pop("KPR_TOKEN"))
    assert done.returncode == Exit.OUTPUT
    assert b"defect" not in done.stderr


@pytest.fixture
def process_home(tmp_path: Path, server: Server) -> Process:
    values = {"KPR_SERVER": server.url, "KPR_TOKEN": server.reader, "XDG_CONFIG_HOME": "/proc"}
    return signed_out(tmp_path, values)
