"""The formats of an import: what each file means, and that no fault repeats a part of it."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secrets_app.errors import InvalidInput
from secrets_app.importing.formats.registry import (
    FORMATS,
    MAX_FILE_BYTES,
    Entry,
    decoded,
    format_of,
    parse,
)
from secrets_app.services.exporting import CsvExport, DotenvExport, JsonExport, YamlExport
from secrets_app.types.registry import SecretType

CANARY = "canary-9c1e-value"
names = st.from_regex(r"[A-Za-z_=+@-][A-Za-z0-9_.=+@-]{0,8}(/[A-Za-z0-9_]{1,4})?", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=40)


def values(entries: list[Entry]) -> dict[str, str]:
    return {entry.name: entry.value for entry in entries}


@example({"a": "a\r\nb", "b": "\r", "c": "\n"})
@example({"=a": "=1+1", "+a": "+", "@a": "@", "-a": "-"})
@example({"a": "no", "b": "1e3", "c": "\u2028", "d": "\x85", "e": '"'})
@given(st.dictionaries(names, texts, min_size=1, max_size=8))
def test_what_keeper_exports_is_read_back(kept: dict[str, str]) -> None:
    for renderer in (JsonExport, YamlExport, CsvExport):
        assert values(parse(renderer.format, renderer().written(kept).decode())) == kept
    variables = {f"V{place}": value for place, value in enumerate(kept.values())}
    assert values(parse("dotenv", DotenvExport().written(variables).decode())) == variables


@example({"=a": "=1+1", "+a": "+1", "@a": "@SUM(1)", "-a": "-1"})
@example({"a": "\t=1", "b": "\r=1", "c": "\n=1"})
@given(st.dictionaries(names, texts, min_size=1, max_size=8))
def test_no_cell_of_a_csv_export_is_a_formula(kept: dict[str, str]) -> None:
    import csv
    import io

    rows = list(csv.reader(io.StringIO(CsvExport().written(kept).decode(), newline="")))
    assert [cell for row in rows for cell in row if cell[:1] in {*"=+-@\t\r"} and cell] == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "A=1\nexport B = two words # note\n\n# C=3\nD='it # is'\r\n",
            {"A": "1", "B": "two words", "D": "it # is"},
        ),
        ('A="a\\nb \\$HOME $HOME"\nB="two\nlines"', {"A": "a\nb $HOME $HOME", "B": "two\nlines"}),
        ("A=\nB=x#y", {"A": "", "B": "x#y"}),
    ],
)
def test_dotenv_is_taken_literally(text: str, wanted: dict[str, str]) -> None:
    assert values(parse("dotenv", text)) == wanted


def test_json_keeps_numbers_and_objects_as_they_are_written() -> None:
    text = '{"n": 1.10, "b": true, "o": {"x":  0.50, "y": [1]}, "s": "\\u00e4", "big": 1' + "0" * 5000 + "}"
    found = {entry.name: entry for entry in parse("json", text)}
    assert found["n"].value == "1.10"
    assert (found["b"].value, found["s"].value, len(found["big"].value)) == ("true", "ä", 5001)
    assert (found["o"].value, found["o"].secret_type) == ('{"x":  0.50, "y": [1]}', SecretType.JSON)


def test_json_of_the_api_names_types_and_metadata() -> None:
    entry = {
        "name": "a",
        "value": "v",
        "secret_type": "API_KEY",
        "tags": ["T"],
        "owner": "o",
        "expires_at": "2031-01-01T00:00:00Z",
    }
    (found,) = parse("json", json.dumps([entry]))
    assert (found.secret_type, found.metadata["tags"], found.metadata["owner"]) == (
        SecretType.API_KEY,
        ["T"],
        "o",
    )
    assert found.metadata["expires_at"] is not None


def test_yaml_keeps_scalars_and_mappings_as_they_are_written() -> None:
    found = {entry.name: entry for entry in parse("yaml", "a: 0123\nb: yes\nc:\n  d: 1.10\ne: ~\n")}
    assert (found["a"].value, found["b"].value) == ("0123", "yes")
    assert (found["c"].value, found["c"].secret_type) == ("d: 1.10\n", SecretType.YAML)
    assert "null" in found["e"].fault


VAULT_GET = {"request_id": "r", "data": {"data": {"user": "u", "port": 1}, "metadata": {"version": 3}}}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (json.dumps({"team": {"db": {"user": "u", "password": "p"}, "key": {"value": "v"}}}), {"team/db": '{"user": "u", "password": "p"}', "team/key": "v"}),
        ("team:\n  key:\n    value: 0123\n", {"team/key": "0123"}),
        (json.dumps([VAULT_GET | {"path": "team/db"}]), {"team/db": '{"user": "u", "port": 1}'}),
        (json.dumps(VAULT_GET), {"": '{"user": "u", "port": 1}'}),
    ],
)  # fmt: skip
def test_what_vault_writes_is_read(text: str, wanted: dict[str, str]) -> None:
    assert values(parse("vault", text)) == wanted


def test_what_aws_writes_is_read() -> None:
    replies = {
        "SecretValues": [
            {"Name": "a", "SecretString": "v"},
            {"Name": "b", "SecretBinary": "AA=="},
            {"Name": "c", "SecretString": '{"k": 1}'},
        ],
        "Errors": [],
    }
    plain, binary, pairs = parse("aws", json.dumps(replies))
    assert (plain.value, binary.value, pairs.secret_type) == ("v", "", SecretType.JSON)
    assert "SecretString" in binary.fault
    assert values(parse("aws", json.dumps({"ARN": "arn:", "Name": "/x", "SecretString": "y"}))) == {"x": "y"}


BROKEN = {
    "dotenv": f"A='{CANARY}",
    "json": f'{{"a": "{CANARY}" "b"}}',
    "yaml": f"a: {CANARY}: {CANARY}",
    "csv": f'name,value\n"{CANARY}',
    "vault": f'{{"a": {CANARY}}}',
    "aws": f'["{CANARY}"',
}


@pytest.mark.parametrize("format", FORMATS)
def test_a_fault_of_a_file_repeats_no_part_of_it(format: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(format, BROKEN[format])
    assert CANARY not in f"{refused.value!r} {refused.value.__context__!r} {refused.value.__cause__!r}"


@pytest.mark.parametrize("format", FORMATS)
@example(text="")
@example(text="\x00")
@example(text="\ud800")
@example(text="&a [*a, *a]")
@given(text=st.text(st.sampled_from("{}[]\":,'=\\\n ab#-&*!|>1é\x00\ud800"), max_size=60))
def test_any_text_is_entries_or_refused(format: str, text: str) -> None:
    try:
        entries = parse(format, text)
    except InvalidInput:
        return
    assert all(entry.place >= 1 for entry in entries)


def test_the_format_is_told_from_name_and_content() -> None:
    told = [
        format_of(name, text)
        for name, text in (
            ("a.env", ""),
            ("a.csv", ""),
            ("a.yml", ""),
            ("a", '{"a"'),
            ("a.json", '{"SecretValues"'),
            ("a.json", '{"request_id"'),
        )
    ]
    assert told == ["dotenv", "csv", "yaml", "json", "aws", "vault"]


@pytest.mark.parametrize(
    ("format", "text", "why"),
    [
        ("toml", "a = 1", "Choose one of"),
        ("dotenv", "A=\ud800", "surrogate"),
        ("dotenv", "# nothing\n", "no entries"),
        ("json", '{"a": "1", "b": "2", "a": "3"}', "twice"),
        ("json", '[{"name": "a", "value": "1", "value": "2"}]', "twice"),
        ("json", '"a"', "plain value"),
        ("yaml", "a: 1\n---\nb: 2\n", "several YAML documents"),
        ("yaml", "- a\n- b\n", "not a mapping"),
        ("csv", "name,value,value\na,1,2\n", "twice"),
        ("csv", "name\na\n", "name and value"),
        ("csv", "name,value,password\na,1,2\n", "name and value"),
        ("vault", '{"a/":' * 22 + '{"b": "1"}' + "}" * 22, "deeper than 20"),
        ("aws", '"a"', "not what AWS"),
        ("vault", '"a"', "not what Vault"),
    ],
)
def test_what_would_be_read_in_two_ways_is_refused(format: str, text: str, why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(format, text)
    assert why in refused.value.reason


@pytest.mark.parametrize(
    ("format", "bad"),
    [
        ("dotenv", "export what is this"),
        ("dotenv", "A='quoted' and more"),
        ("json", '"an element"'),
        ("json", '{"value": "v"}'),
        ("json", '{"name": "n", "value": null}'),
        ("json", '{"name": "n", "value": "v", "expires_at": "tomorrow"}'),
        ("json", '{"name": "n", "value": "v", "expires_at": "2027-02-30T00:00:00Z"}'),
        ("csv", "n,v,more"),
        ("csv", "n"),
        ("vault", '"an element"'),
        ("vault", '{"request_id": "r", "path": "n", "data": null}'),
        ("aws", '{"SecretString": "v"}'),
        ("aws", '"an element"'),
    ],
)
def test_a_bad_entry_is_told_and_hides_no_good_one(format: str, bad: str) -> None:
    """The import then refuses the one, and takes those beside it."""
    good = {
        "dotenv": "GOOD=v",
        "json": '{"name": "GOOD", "value": "v"}',
        "csv": "GOOD,v",
        "vault": '{"path": "GOOD", "data": {"value": "v"}}',
        "aws": '{"Name": "GOOD", "SecretString": "v"}',
    }[format]
    lines = [good, bad, good]
    text = "\n".join(lines) if format in {"dotenv", "csv"} else f"[{','.join(lines)}]"
    entries = parse(format, f"name,value\n{text}" if format == "csv" else text)
    assert [(entry.name, entry.value) for entry in (entries[0], entries[2])] == [("GOOD", "v")] * 2
    assert [bool(entry.fault) for entry in entries] == [False, True, False]
    assert entries[1].value == ""


def test_a_file_of_eight_mebibytes_is_read_and_a_larger_one_is_not() -> None:
    assert len(decoded(b"a" * MAX_FILE_BYTES)) == MAX_FILE_BYTES
    with pytest.raises(InvalidInput, match="larger than 8 MiB"):
        decoded(b"a" * (MAX_FILE_BYTES + 1))
    with pytest.raises(InvalidInput, match="UTF-8"):
        decoded(b"\xff")
