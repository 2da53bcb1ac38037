"""The dotenv export: what a shell that sources it, and a dotenv reader, get back."""

import subprocess
from pathlib import Path

import orjson
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from secrets_app.services.exporting import DotenvExport, JsonExport, YamlExport

HOSTILE = "it's `touch pwned` $(touch pwned) ${HOME} \\n \\\\ \" ! # = ; & |"
values = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=40),
    min_size=1,
    max_size=30,
)


def _sourced(text: bytes, names: list[str], directory: Path) -> list[str]:
    """Return what a shell has in the variables after it sourced the file."""
    file = directory / "export.env"
    file.write_bytes(text)
    script = f". {file}; " + "; ".join(f'printf "%s\\0" "${name}"' for name in names)
    run = subprocess.run(["/bin/sh", "-c", script], check=True, capture_output=True, cwd=directory)
    assert run.stderr == b""
    return run.stdout.decode().split("\0")[:-1]


def test_sourcing_runs_nothing_that_stands_in_a_value(tmp_path: Path) -> None:
    text = DotenvExport().written({"A": HOSTILE, "B": "two\nlines", "C": "it's"})
    assert _sourced(text, ["A", "B", "C"], tmp_path) == [HOSTILE, "two\nlines", "it's"]
    assert not (tmp_path / "pwned").exists()


@example([HOSTILE])
@example(["\n", "a\r\nb", "\\", "'"])
@example(["\U0001f511", "-n", "=", " "])
@given(values)
def test_a_shell_reads_back_every_value(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    named = {f"V{index}": text for index, text in enumerate(texts)}
    directory = tmp_path_factory.mktemp("export")
    assert _sourced(DotenvExport().written(named), list(named), directory) == texts


# Words that YAML takes for something else than text, and what ends a line in it.
@example(["no", "1e3", "0x1f", "~", "2026-01-02"])
@example(["\x85", "\u2028", "\ufeff", "\x7f"])
@example([": ", "- a", "# a", "a\n\n"])
@given(values)
def test_json_and_yaml_are_read_back(texts: list[str]) -> None:
    named = {f"V{index}": text for index, text in enumerate(texts)}
    assert orjson.loads(JsonExport().written(named)) == named
    assert yaml.safe_load(YamlExport().written(named)) == named
