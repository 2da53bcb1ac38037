"""Completion and the manual page: both are of the present commands, and the programs they are for take them."""

import json
import shutil
import subprocess

import pytest

from kpr.__main__ import _COMMANDS, main
from kpr.cli.reference import commands, options_of
from kpr.errors import EXIT_MEANINGS, Exit

# What is typed, and what is offered among others.
TYPED = {
    "kpr ": {"run", "get", "scan", "completion"},
    "kpr ru": {"run"},
    "kpr run --na": {"--name-transformer"},
    "kpr run --name-transformer ": {"upper-snake", "tf-var"},
    "kpr export --format p": {"powershell"},
    "kpr -x import --from in": {"infisical"},
    "kpr completion ": {"bash", "zsh", "fish"},
    "kpr run -- ca": {"cat"},
}


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_bash_completes(capsys: pytest.CaptureFixture[str]) -> None:
    script = output(capsys, "completion", "bash")
    asked = "".join(
        f"COMP_WORDS=({' '.join(words)} '{last}'); COMP_CWORD={len(words)}; COMPREPLY=(); _kpr; "
        'echo "${COMPREPLY[@]}"\n'
        for *words, last in (typed.split(" ") for typed in TYPED)
    )
    done = subprocess.run(["bash", "-c", script + asked], capture_output=True, text=True, check=True)
    for (typed, expected), line in zip(TYPED.items(), done.stdout.splitlines(), strict=True):
        offered = line.split()
        assert expected <= set(offered), typed
        assert all(each.startswith(typed.split(" ")[-1]) for each in offered), typed
    assert done.stderr == ""


# What is typed, and of which kind and with which line the server is asked.
ASKED = {
    "kpr get app/": "secrets|app/|get",
    "kpr run --only ": "secrets||run --only",
    "kpr set -e production pay": "secrets|pay|set -e production",
    "kpr run -e pro": "environments|pro|run -e",
    "kpr diff development ": "environments||diff development",
    "kpr get --": "",
    "kpr export --format ": "",
}


def test_bash_asks_for_names(capsys: pytest.CaptureFixture[str]) -> None:
    script = output(capsys, "completion", "bash")
    lines = [typed.split(" ") for typed in ASKED]
    asked = "".join(
        f"COMP_WORDS=({' '.join(words)} '{last}'); COMP_CWORD={len(words)}; COMPREPLY=(); _kpr; "
        'each="${COMPREPLY[-1]}"; case $each in *"|"*) echo "$each" ;; *) echo ;; esac\n'
        for *words, last in lines
    )
    # Instead of kpr: it offers what it was asked.
    stub = 'kpr() { [ "$1" = _complete ] && { local kind=$2 typed=$3; shift 3; echo "$kind|$typed|$*"; }; }\n'
    done = subprocess.run(["bash", "-c", script + stub + asked], capture_output=True, text=True, check=True)
    assert dict(zip(ASKED, done.stdout.splitlines(), strict=True)) == ASKED
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_ask_for_names_as_well(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = output(capsys, "completion", shell)
    lines = [line for line in script.splitlines() if "environments" in line or "secrets" in line]
    offered = "_kpr_names" if shell == "zsh" else "kpr _complete"
    for verb, kind in (
        ("get", "secrets"),
        ("run", "secrets"),
        ("run", "environments"),
        ("diff", "environments"),
    ):
        assert any(f"{offered} {kind}" in line and verb in line for line in lines), (verb, kind)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_names_every_option_and_is_one_of_its_shell(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script = output(capsys, "completion", shell)
    for verb in commands():
        for action in options_of(verb):
            for flag in action.option_strings:
                assert (
                    f"-l {flag[2:]}" if shell == "fish" and flag[:2] == "--" else flag.lstrip("-")
                ) in script
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_manual_has_every_command_option_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    page = output(capsys, "man")
    for verb in commands():
        assert f".SS kpr {verb}\n" in page
        for action in options_of(verb):
            for flag in action.option_strings:
                assert flag.replace("-", "\\-") in page
    assert EXIT_MEANINGS.keys() == set(Exit)
    if shutil.which("groff"):
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z"], input=page, text=True, capture_output=True, check=True
        )
        assert done.stderr == ""


def test_every_command_can_be_run() -> None:
    assert _COMMANDS.keys() - {"learn"} == commands().keys()


def test_an_error_of_the_command_line_is_a_document_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["get", "--format", "json"],
        ["fly", "--format=json"],
        ["run", "--bad", "--format", "json"],
    ):
        code = main(arguments)
        assert json.loads(capsys.readouterr().err)["code"] == code
        assert code == (Exit.OWN_FAILURE if arguments[0] == "run" else Exit.USAGE)
