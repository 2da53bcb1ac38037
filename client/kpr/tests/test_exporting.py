"""The forms of an export that kpr makes: real shells read every value back exactly, or it is refused."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from secrets_app.tests.dotenv_readers import AWKWARD

from kpr.cli.parser import EXPORT_FORMATS
from kpr.errors import NamesError
from kpr.exporting import FORMS, OF_SERVER, written

# Characters that some shell takes for its own, and what it may lose.
RISKY = st.text(st.sampled_from("'\"\\$`!#~*?[]{}()<>|&;= \t\r\naä\u2019\x01\x7f"), max_size=20)
TEXTS = st.lists(
    st.one_of(RISKY, st.text(st.characters(codec="utf-8", exclude_characters="\0"))), max_size=30
)
# By what a shell reads a file of each form.
SHELLS = (
    ("bash", "shell"),
    ("dash", "shell"),
    ("zsh", "shell"),
    ("fish", "fish"),
    ("dash", "systemd"),
    ("bash", "systemd"),
)


def read_back(shell: str, file: Path, names: list[str]) -> list[str]:
    begin = f"source {file}" if shell == "fish" else f"set -a; . {file}"
    script = "; ".join([begin, *(f"printf '%s\\0' \"${name}\"" for name in names)])
    options = {"fish": ["--no-config"], "zsh": ["-f"]}.get(shell, [])
    done = subprocess.run(
        [str(shutil.which(shell)), *options, "-c", script],
        capture_output=True,
        check=True,
        cwd=file.parent,
        env={"PATH": "/usr/bin:/bin", "HOME": str(file.parent)},
        timeout=60,
    )
    assert done.stderr == b""
    return done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]


def check(folder: Path, values: Mapping[str, str]) -> None:
    names = [f"V_{place}" for place in range(len(values))]
    named = dict(zip((f"v/{place}" for place in range(len(values))), values.values(), strict=True))
    for shell, form in SHELLS:
        if shutil.which(shell):
            file = folder / form
            file.write_text(written(named, form), encoding="utf-8", newline="")
            assert read_back(shell, file, names) == list(values.values()), (shell, form)
    # What a value asks a shell to run would make this file.
    assert not (folder / "pwned").exists()


def test_awkward_values_arrive_in_every_shell(tmp_path: Path) -> None:
    assert shutil.which("bash")
    check(tmp_path, AWKWARD)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(texts=[])
@example(texts=["", "\n", "\r\n", "'", "\\", "$(touch pwned)"])
@example(texts=["\u2019", "\x7f", "!", "%PATH%", "\U0001f511"])
@given(texts=TEXTS)
def test_any_values_arrive_in_every_shell(tmp_path: Path, texts: list[str]) -> None:
    check(tmp_path, {str(place): text for place, text in enumerate(texts)})


def test_a_docker_file_holds_lines_as_they_are_and_refuses_others() -> None:
    assert written({"a/b": " it's $5 \"#\\n"}, "docker") == "A_B= it's $5 \"#\\n\n"
    for value in ("two\nlines", "end\r", "x" * 70_000):
        with pytest.raises(NamesError) as refused:
            written({"a/b": value}, "docker")
        assert value not in str(refused.value)


def test_a_file_of_github_ends_by_what_no_value_knows() -> None:
    text = written({"a/b": "one\nkpr_00\ntwo\n"}, "github-env")
    found = re.fullmatch(r"A_B<<(kpr_[0-9a-f]{32})\none\nkpr_00\ntwo\n\n\1\n", text)
    assert found
    assert written({"a/b": "x"}, "github-env") != written({"a/b": "x"}, "github-env")


def test_powershell_gets_every_quote_doubled() -> None:
    assert written({"a": "it's \u2019$x`"}, "powershell") == "$env:A = 'it''s \u2019\u2019$x`'\n"


def test_names_that_collide_and_nul_are_refused() -> None:
    for form in FORMS:
        with pytest.raises(NamesError):
            written({"a/b": "1", "a-b": "2"}, form)
        with pytest.raises(NamesError):
            written({"a": "\0"}, form)


def test_every_form_is_an_option() -> None:
    assert set(EXPORT_FORMATS) == {*OF_SERVER, *FORMS}
