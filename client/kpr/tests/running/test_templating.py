"""`kpr template`: the values of what a file names, whole and in the notation asked for; nothing is executed."""

import io
import json
import os
import shlex
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from kpr.__main__ import main
from kpr.errors import Exit, UsageError
from kpr.templating import names_of, render
from kpr.tests.conftest import MULTILINE, Inside
from kpr.tests.test_levels import type_in

VALUES = {"app/key": MULTILINE, "app/other": '{{ keeper "app/key" }} $(id) é'}


@pytest.fixture
def stored(inside: Inside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in VALUES.items():
        type_in(monkeypatch, value)
        assert main(["set", name, "--exact"]) == 0
    capsys.readouterr()


def test_a_file_gets_the_values_and_is_private(
    stored: None, inside: Inside, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template, output = tmp_path / "in", tmp_path / "out"
    text = 'a={{keeper "app/key"}}\r\nb={{ keeper  "app/other" }} {{ keeper "app/key" | base64 }}{{ .Helm }} {{keepers}}'
    template.write_bytes(text.encode())
    output.write_text("old, and readable by all")
    output.chmod(0o644)
    inside.asked.clear()
    before = os.umask(0)
    try:
        assert main(["template", str(template), "--output", str(output)]) == 0
    finally:
        os.umask(before)
    content = output.read_bytes().decode()
    assert content.startswith(f"a={MULTILINE}\r\nb={VALUES['app/other']} ")
    assert content.endswith("{{ .Helm }} {{keepers}}")
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["in", "out"]
    told = capsys.readouterr()
    assert MULTILINE not in told.out + told.err
    # Each secret is read once, and no other one.
    assert len(inside.asked) == 2


def test_each_notation_holds_the_value_whole() -> None:
    value = MULTILINE + "\t\x07 é '\"$`\\ {}[]#:%&"
    readers: dict[str, Callable[[str], str]] = {
        "json": json.loads,
        "base64": lambda text: subprocess.run(
            ["base64", "-d"], input=text.encode(), capture_output=True, check=True
        ).stdout.decode(),
        "shell": lambda text: shlex.split(text)[0],
        "url": unquote,
    }
    for notation, read in readers.items():
        assert read(render(f'{{{{ keeper "a" | {notation} }}}}', {"a": value})) == value, notation
    assert yaml.safe_load(render('k: {{ keeper "a" | json }}', {"a": '- é: "x"\n'})) == {"k": '- é: "x"\n'}


@pytest.mark.parametrize(
    "place",
    ["{{ keeper app/key }}", '{{ keeper "app/key }}', '{{ keeper "a" "b" }}', '{{ keeper "a" | upper }}', '{{ keeper "a" | json | url }}',
     '{{- keeper "a" -}}', "{{ keeper }}", '{{ keeper "a\\n" }}'],
)  # fmt: skip
def test_a_place_that_is_not_well_formed_is_refused_with_its_line(place: str) -> None:
    with pytest.raises(UsageError, match=r"^Line 2: "):
        names_of(f'{{{{ keeper "good" }}}}\n{place}')


def test_a_missing_name_fails_and_writes_nothing_unless_that_is_allowed(
    stored: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template, output = tmp_path / "in", tmp_path / "out"
    template.write_text('{{ keeper "app/absent" }}|{{ keeper "app/other" }}|{{ keeper "gone" }}')
    arguments = ["template", str(template), "-o", str(output)]
    assert main(arguments) == Exit.NAMES
    assert "app/absent, gone" in capsys.readouterr().err
    assert not output.exists()
    assert main([*arguments, "--allow-missing"]) == 0
    assert output.read_text() == f"|{VALUES['app/other']}|"
    # In an environment that is not visible nothing is merely missing.
    assert main([*arguments, "--allow-missing", "-e", "nowhere"]) == Exit.NOT_FOUND
    assert main(["template", str(tmp_path / "no-file")]) == Exit.USAGE
    assert main([*arguments[:2], "-o", str(tmp_path / "no-folder" / "out")]) == Exit.NAMES


def test_standard_input_and_output_serve_and_a_terminal_needs_reveal(
    stored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    cases = ((io.TextIOWrapper, 0, MULTILINE.encode()), (Terminal, Exit.USAGE, b""))
    for output, code, expected in cases:
        shown = io.BytesIO()
        monkeypatch.setattr("sys.stdout", output(shown))
        type_in(monkeypatch, '{{ keeper "app/key" }}')
        assert main(["template", "-"]) == code
        assert shown.getvalue() == expected
