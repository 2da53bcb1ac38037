"""The rules for names of people, environments and prefixes.

Usernames follow the idea of Unicode's security mechanisms (UTS #39): one name has one spelling
(NFKC and case folding), and letters of one script, so that no name can pass for another.
"""

import re
import unicodedata
from collections.abc import Iterator

from environments_app.errors import BadName

MAX_USERNAME = 150
MAX_PREFIX = 512

_ENVIRONMENT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SEGMENT = re.compile(r"[A-Za-z0-9_.+=@-]+")
_PUNCTUATION = frozenset("._-@+")
# Names that the audit log, reports and exports write for Keeper itself and for callers without an account,
# and words with a special meaning to scripts and queries. `root` and `admin` are allowed.
RESERVED = frozenset(
    [
        "system",
        "keeper",
        "anonymous",
        "deployment",
        "installation",
        "identity provider",
        "unknown",
        "nobody",
        "none",
        "null",
        "undefined",
        "deleted",
        "anybody",
        "anyone",
        "everybody",
        "everyone",
        "all",
        "me",
        "self",
    ]
)
# Letters of these Latin names have no ASCII base letter and resemble none.
_OTHER_LATIN = frozenset("æøœđłðþħ")
# Scripts in everyday modern use (UAX #31, table 5), by the first word of their letters' names.
_SCRIPTS = frozenset(
    [
        "LATIN",
        "GREEK",
        "CYRILLIC",
        "ARMENIAN",
        "HEBREW",
        "ARABIC",
        "THAANA",
        "DEVANAGARI",
        "BENGALI",
        "GURMUKHI",
        "GUJARATI",
        "ORIYA",
        "TAMIL",
        "TELUGU",
        "KANNADA",
        "MALAYALAM",
        "SINHALA",
        "THAI",
        "LAO",
        "TIBETAN",
        "MYANMAR",
        "GEORGIAN",
        "HANGUL",
        "ETHIOPIC",
        "KHMER",
        "HIRAGANA",
        "KATAKANA",
        "BOPOMOFO",
        "CJK",
    ]
)
# Scripts that are written together in one word.
_WRITTEN_TOGETHER = (
    frozenset({"CJK", "HIRAGANA", "KATAKANA"}),
    frozenset({"CJK", "HANGUL"}),
    frozenset({"CJK", "BOPOMOFO"}),
)
# Letters of other scripts that are drawn like a Latin one (from Unicode's confusables.txt).
_LATIN_LOOKALIKES = frozenset(
    "авгеѕіјкмнорстухьѵԁԛԝһӏԍ"  # Cyrillic
    "αγικνορτυχωϲϳ"  # Greek
    "աեհոսցօզ"  # Armenian
)

# The same, the capitals too, with the letter that each is drawn like; and the digits that pass for letters.
_DRAWN_LIKE = {
    ord(letter): latin
    for letters, latins in (
        ("авгеѕіјкмнорстухѵԁԛԝһӏԍ", "abresijkmhopctyxvdqwhlg"),
        ("АВЕЅІЈКМНОРСТУХԚԜҺӀ", "abesijkmhopctyxqwhl"),
        ("αγικνορτυχωϲϳ", "ayikvoptuxwcj"),
        ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "abezhikmnoptyx"),  # noqa: RUF001 - Greek capitals
        ("աեհոսցօզ", "wehnugoq"),
        ("01ı", "oli"),  # noqa: RUF001 - and the i without its dot
    )
    for letter, latin in zip(letters, latins, strict=True)
}


def fold_username(text: str) -> str:
    """Return the spelling by which usernames are compared, whether or not the text is one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def normalise_username(text: str) -> str:
    """Return the one spelling of a username: NFKC, then case-folded.

    Raises BadName if the name is empty or too long, holds anything but letters, ASCII digits and
    `._-@+`, mixes scripts, or consists of letters that pass for Latin ones.
    """
    name = fold_username(text)
    if not 1 <= len(name) <= MAX_USERNAME:
        raise BadName("username", f"Use 1 to {MAX_USERNAME} characters.")
    letters = [character for character in name if unicodedata.category(character)[0] in "LM"]
    for character in name:
        _refuse_unless_allowed(character)
    _refuse_mixed_scripts({_script(letter) for letter in letters})
    if letters and all(letter in _LATIN_LOOKALIKES for letter in letters):
        raise BadName("username", "This username could be mistaken for one in Latin letters.")
    return name


def validate_new_username(text: str) -> str:
    """Return the one spelling of a username that may be given to a new account. Raises BadName."""
    name = normalise_username(text)
    refuse_reserved(name, field="username")
    return name


def refuse_reserved(text: str, *, field: str) -> None:
    """Refuse a name that passes for one of RESERVED, in any spelling and with any signs around it.

    Letters of other scripts and digits count as the Latin letters that they are drawn like; marks on letters
    and characters without a width count as nothing. Raises BadName. Accounts and tokens that have such a
    name keep it.
    """
    if not RESERVED.isdisjoint(_looks(text)):
        raise BadName(field, "This name is reserved for Keeper and for unknown callers. Choose another one.")


def _looks(text: str) -> Iterator[str]:
    """Yield the Latin words that a name may be read as."""
    plain = unicodedata.normalize("NFKC", text)
    # Some capitals are drawn like a Latin letter and their small letters are not, and the other way round.
    for spelling in (
        plain.translate(_DRAWN_LIKE),
        fold_username(text),
        fold_username(text).translate(_DRAWN_LIKE),
    ):
        parts = unicodedata.normalize("NFKD", fold_username(spelling))
        letters = "".join(each for each in parts if unicodedata.category(each) not in {"Mn", "Me", "Cf"})
        yield " ".join(word for word in re.split(r"[\W_]+", letters) if word)


def validate_environment_name(name: str) -> str:
    """Return `name` unchanged; raises BadName unless it fits `[a-z0-9][a-z0-9_-]{0,62}`."""
    if not _ENVIRONMENT_NAME.fullmatch(name):
        raise BadName(
            "name",
            "Use 1 to 63 lowercase letters, digits, - or _, starting with a letter or digit.",
        )
    return name


def validate_prefix(prefix: str) -> str:
    """Return `prefix` without a trailing slash; empty means every name.

    A prefix is a path of whole segments, by the same rules as a secret's name. Raises BadName
    if it is not.
    """
    path = prefix.removesuffix("/")
    if prefix and not _is_path(path):
        raise BadName(
            "prefix", "Enter a path such as apps/web, of A-Z a-z 0-9 _ . + = @ - and single slashes."
        )
    return path


def _is_path(path: str) -> bool:
    segments = path.split("/")
    return len(path) <= MAX_PREFIX and all(
        _SEGMENT.fullmatch(segment) and segment not in {".", ".."} for segment in segments
    )


def _refuse_unless_allowed(character: str) -> None:
    if character in _PUNCTUATION or (character.isascii() and character.isalnum()):
        return
    if unicodedata.category(character)[0] not in "LM" or _script(character) not in _SCRIPTS:
        raise BadName("username", "Use only letters, the digits 0 to 9 and . _ - @ +.")
    if _script(character) == "LATIN" and not _has_ascii_base(character):
        raise BadName("username", "This username holds a letter that could be mistaken for another one.")


def _script(character: str) -> str:
    match = re.match(r"[A-Z]+", unicodedata.name(character, ""))
    return match.group() if match else ""


def _has_ascii_base(letter: str) -> bool:
    return letter in _OTHER_LATIN or unicodedata.normalize("NFD", letter)[0].isascii()


def _refuse_mixed_scripts(scripts: set[str]) -> None:
    if len(scripts) > 1 and not any(scripts <= together for together in _WRITTEN_TOGETHER):
        raise BadName(
            "username",
            "A username's letters are of one alphabet: this one could be mistaken for another name.",
        )
