"""Where a path of a source goes, under which name, and which texts are rules."""

from collections.abc import Mapping

import pytest

from environments_app.tests.cast import Cast
from secrets_app.services import lifecycle
from secrets_app.tests.kept import keep
from secrets_app.values.names import MAX_NAME_LENGTH
from sync_app.errors import BadDestination
from sync_app.migration.placing import (
    How,
    Placed,
    Rule,
    free_name,
    is_numbered_name,
    numbered_names,
    place,
    usable_name,
)
from sync_app.migration.service import parse_rule

LONG = "x" * MAX_NAME_LENGTH
FOLDERS: Mapping[str, str] = {"prod": "uuid-p", "stage": "uuid-s"}


@pytest.mark.parametrize(
    ("rule", "path", "found"),
    [
        (Rule(place="kv", how=How.ALL, environments={"": "uuid"}), "a/b", Placed("uuid", "a/b")),
        (Rule(place="kv", how=How.ALL, environments={"": "uuid"}, prefix="t"), "a/b", Placed("uuid", "t/a/b")),
        (Rule(place="kv", how=How.FIRST_FOLDER, environments=FOLDERS), "prod/a/b", Placed("uuid-p", "a/b")),
        (
            Rule(place="kv", how=How.FIRST_FOLDER, environments=FOLDERS, prefix="t"),
            "stage/a", Placed("uuid-s", "t/a"),
        ),
    ],
)  # fmt: skip
def test_a_path_goes_where_its_rule_says(rule: Rule, path: str, found: Placed) -> None:
    assert place(rule, path) == found
    assert Rule.of(rule.stored()) == rule


@pytest.mark.parametrize(
    ("path", "fault"), [("prod", "no folder"), ("dev/a", "no environment for the folder dev")]
)
def test_a_path_of_no_folder_of_the_rule_goes_nowhere(path: str, fault: str) -> None:
    found = place(Rule(place="kv", how=How.FIRST_FOLDER, environments=FOLDERS), path)
    assert (found.environment, found.name, fault in found.fault) == ("", "", True)


@pytest.mark.parametrize(
    ("name", "usable"),
    [
        ("a/b-1.2_+=@", "a/b-1.2_+=@"),
        ("a b/ü", "a_b/_"),
        ("a//b", "a/_/b"),
        ("../a/./..a", "__/a/_/..a"),
        (LONG + "y", LONG),
        # No name ends with a slash, wherever it is cut.
        ("x" * (MAX_NAME_LENGTH - 1) + "/y", "x" * (MAX_NAME_LENGTH - 1)),
    ],
)
def test_a_name_is_made_usable(name: str, usable: str) -> None:
    assert usable_name(name) == usable


@pytest.mark.parametrize(
    ("name", "taken", "free"),
    [
        ("a", [], "a"),
        ("a", ["a"], "a-2"),
        ("a", ["a", "a-2", "a-3"], "a-4"),
        # The number fits into a name of full length.
        (LONG, [LONG], f"{LONG[:-8]}-2"),
        (LONG, [LONG, f"{LONG[:-8]}-2"], f"{LONG[:-8]}-3"),
    ],
)
def test_a_name_that_is_taken_gets_a_number(name: str, taken: list[str], free: str) -> None:
    assert free_name(name, taken) == free
    assert is_numbered_name(free, name)


@pytest.mark.parametrize("name", ["a-", "a-x", "a-2x", "b-2", "a2", "a/2"])
def test_another_name_is_none_with_a_number(name: str) -> None:
    assert not is_numbered_name(name, "a")


def test_numbered_names_are_those_of_living_secrets_of_the_environment(cast: Cast) -> None:
    for name in ("a", "a-2", "a-3", "a-x", "b-2"):
        keep(cast, name, "v")
    keep(cast, "a-4", "v", environment=cast.production)
    lifecycle.delete(actor=cast.principal(cast.alice), secret=keep(cast, "a-5", "v"))
    assert sorted(numbered_names(cast.development, "a")) == ["a-2", "a-3"]


@pytest.mark.parametrize(
    ("text", "how", "folders", "prefix"),
    [
        ("kv=production", How.ALL, {"": "production"}, ""),
        ("/team/kv/=production:/a/b/", How.ALL, {"": "production"}, "a/b"),
        (
            "kv=first-folder:p=production,s=development",
            How.FIRST_FOLDER, {"p": "production", "s": "development"}, "",
        ),
    ],
)  # fmt: skip
def test_a_rule_is_read_as_it_is_written(
    cast: Cast, text: str, how: How, folders: dict[str, str], prefix: str
) -> None:
    known = {"production": cast.production, "development": cast.development}
    rule = parse_rule(text, known.get)
    environments = {folder: str(known[name].uuid) for folder, name in folders.items()}
    assert (rule.how, rule.environments, rule.prefix) == (how, environments, prefix)
    assert rule.place == text.partition("=")[0].strip("/")
    assert parse_rule(rule.text({str(each.uuid): name for name, each in known.items()}), known.get) == rule


@pytest.mark.parametrize(
    ("text", "told"),
    [
        *(
            (text, "a rule is PLACE=ENVIRONMENT")
            for text in ("kv", "=production", "/=production", "kv=", "kv=:a")
        ),
        ("kv=elsewhere", "no environment elsewhere"),
        ("kv=first-folder:", "no environment"),
        ("kv=first-folder:production", "no environment"),
        ("kv=first-folder:=production", "no environment production"),
        ("kv=first-folder:a=elsewhere", "no environment elsewhere"),
    ],
)
def test_what_is_no_rule_is_refused(cast: Cast, text: str, told: str) -> None:
    known = {"production": cast.production}
    with pytest.raises(BadDestination, match=told) as caught:
        parse_rule(text, known.get)
    assert caught.value.field == "rules"
