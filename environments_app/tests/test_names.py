import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from environments_app.errors import BadName
from environments_app.models import User
from environments_app.names import (
    fold_username,
    normalise_username,
    refuse_reserved,
    validate_environment_name,
    validate_new_username,
    validate_prefix,
)


@pytest.mark.parametrize(
    ("given_name", "stored"),
    [("Alice", "alice"), ("ＡＬＩＣＥ", "alice"), ("Straße", "strasse"), ("José", "josé"), ("a.b+c@d-e_1", "a.b+c@d-e_1"), ("Ирина", "ирина")],
)  # fmt: skip
def test_it_gives_one_spelling(given_name: str, stored: str) -> None:
    assert normalise_username(given_name) == stored


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "al ice",
        "alice\n",
        "alice\x00",
        "аlice",  # a Cyrillic first letter
        "аосе",  # all Cyrillic, all drawn like Latin
        "αν",  # Greek for "av"
        "admın",  # a dotless i
        "ɡroup",  # a script g
        "a\u0301dmi\u0332n",  # a mark that no precomposed letter has
        "alice\u200b",
        "alice\u202e",
        "٣alice",
        "a" * 151,
        "ꭰ",  # Cherokee
    ],
)
def test_it_refuses_names_that_pass_for_others(name: str) -> None:
    with pytest.raises(BadName) as refusal:
        normalise_username(name)
    assert refusal.value.field == "username"
    assert not name.strip() or name not in str(refusal.value)


@example("")
@example("ﬁ")
@example("ΑΙ\u0345")
@example("a\u0301")
@example("\u0130")
@example("a\x00")
@given(st.text(max_size=20))
def test_a_normal_name_stays_as_it_is(text: str) -> None:
    try:
        name = normalise_username(text)
    except BadName:
        return
    assert normalise_username(name) == name
    assert unicodedata.is_normalized("NFKC", name)


@pytest.mark.parametrize("name", ["a", "production", "eu-1_b", "0", "a" * 63])
def test_it_takes_names_of_environments(name: str) -> None:
    assert validate_environment_name(name) == name


@pytest.mark.parametrize("name", ["", "Production", "-a", "_a", "a b", "a/b", "a" * 64, "a\n", "pröd", "a.b"])
def test_it_refuses_other_names_of_environments(name: str) -> None:
    with pytest.raises(BadName):
        validate_environment_name(name)


@pytest.mark.parametrize(
    ("text", "prefix"), [("", ""), ("pay", "pay"), ("pay/", "pay"), ("a/b.c=d@e+f", "a/b.c=d@e+f")]
)
def test_it_takes_prefixes_of_whole_segments(text: str, prefix: str) -> None:
    assert validate_prefix(text) == prefix


@pytest.mark.parametrize(
    "text", ["/", "/pay", "pay//", "a//b", "..", "a/./b", "a b", "pay%", "a\n", "é", "a" * 513]
)
def test_it_refuses_other_prefixes(text: str) -> None:
    with pytest.raises(BadName):
        validate_prefix(text)


@pytest.mark.every_database
@pytest.mark.django_db
def test_two_spellings_are_one_user() -> None:
    User.objects.create_user("Alice")
    assert User.objects.get(username="alice").username == "alice"
    assert User(username=User.normalize_username("ALICE")).username == "alice"
    assert not User.objects.filter(username="ALICE").exists()


def test_what_is_compared_has_one_spelling_whatever_case_it_comes_in() -> None:
    spelt = {
        fold_username(text) for text in ("J\u030c\u0323", "\u01f0\u0323", "j\u0323\u030c", "J\u0323\u030c")
    }
    assert len(spelt) == 1


@pytest.mark.parametrize(
    "name",
    ["system", "Keeper", "ＳＹＳＴＥＭ", "anonymous", "-system-", "system.", "_nobody", "identity-provider"],
)
def test_names_of_keeper_itself_are_reserved(name: str) -> None:
    with pytest.raises(BadName):
        validate_new_username(name)
    # Who has such a name already signs in as before.
    assert normalise_username(name)


@pytest.mark.parametrize(
    "name",
    [
        "ѕуѕтем",  # Cyrillic throughout
        "sуstem",  # one Cyrillic letter
        "KΕEPER",  # one Greek capital
        "ΝΟΝΕ",  # Greek capitals, whose small letters are drawn otherwise
        "sys\u200btem",
        "ke\u0301eper",
        "system\u2024",
        "n0ne",
        "a1l",
        "ａｌｌ．",
        "Keeper…",
        "n\u043ebody",
    ],
)
def test_what_looks_like_a_name_of_keeper_is_reserved_too(name: str) -> None:
    with pytest.raises(BadName):
        refuse_reserved(name, field="name")


@pytest.mark.parametrize("name", ["Björn", "Ольга", "Νίκη", "鈴木", "ci-1", "a11y", "m3", "dependabot"])
def test_names_that_look_like_no_name_of_keeper_are_free(name: str) -> None:
    refuse_reserved(name, field="name")


@pytest.mark.parametrize("name", ["root", "admin", "keeper-ci", "systems", "nobody.else"])
def test_names_beside_them_are_not(name: str) -> None:
    assert validate_new_username(name) == name
