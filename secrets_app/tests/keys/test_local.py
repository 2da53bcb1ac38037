"""The local provider: its key file, and what it says when that is wrong."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pytest_django import Settings

from secrets_app.errors import KeyUnavailable
from secrets_app.keys.models import VALUES, DataKey
from secrets_app.keys.providers.local import LocalProvider

pytestmark = pytest.mark.django_db
CONTEXT = {"keeper:data-key": "1"}


@pytest.fixture
def key_file(settings: Settings) -> Path:
    return Path(settings.KEEPER_LOCAL_KEY_FILE)


def test_it_makes_a_key_file_for_its_owner_alone(key_file: Path) -> None:
    LocalProvider().resolve("")
    assert len(key_file.read_bytes()) == 32
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert list(key_file.parent.iterdir()) == [key_file]


def test_it_never_replaces_a_key_file(key_file: Path) -> None:
    key_file.write_bytes(b"k" * 32)
    LocalProvider().resolve("")
    assert key_file.read_bytes() == b"k" * 32


def test_processes_that_start_together_agree_on_the_key() -> None:
    with ThreadPoolExecutor(8) as pool:
        uris = list(pool.map(lambda _number: LocalProvider().resolve(""), range(8)))
    assert len(set(uris)) == 1


def test_it_does_not_make_a_key_file_to_open_what_another_one_wrapped(key_file: Path) -> None:
    keeper = LocalProvider()
    made = keeper.generate(key_uri=keeper.resolve(""), context=CONTEXT)
    key_file.unlink()
    with pytest.raises(KeyUnavailable, match="restore it from its backup"):
        LocalProvider().unwrap(key_uri=made.key_uri, wrapped=made.wrapped, context=CONTEXT)
    assert not key_file.exists()


@pytest.mark.parametrize("wrap", [{"provider": "local"}, {"provider": "kms", "other_provider": "local"}])
def test_it_makes_no_key_file_where_one_has_wrapped_data_keys(key_file: Path, wrap: dict[str, str]) -> None:
    DataKey.objects.create(purpose=VALUES, key_uri="", wrapped_key=b"", **wrap)
    with pytest.raises(KeyUnavailable, match="restore it from its backup"):
        LocalProvider().resolve("")
    assert not key_file.exists()
    DataKey.objects.update(provider="kms", other_provider="")
    assert LocalProvider().resolve("")


def test_it_names_both_keys_when_the_file_is_another(key_file: Path) -> None:
    keeper = LocalProvider()
    made = keeper.generate(key_uri=keeper.resolve(""), context=CONTEXT)
    key_file.write_bytes(b"k" * 32)
    other = LocalProvider()
    with pytest.raises(KeyUnavailable) as raised:
        other.unwrap(key_uri=made.key_uri, wrapped=made.wrapped, context=CONTEXT)
    assert made.key_uri in str(raised.value)
    assert other.resolve("") in str(raised.value)
    assert raised.value.permanent


@pytest.mark.parametrize("content", [b"", b"k" * 31, b"k" * 33, b"6b" * 32])
def test_it_refuses_a_key_file_of_another_size(key_file: Path, content: bytes) -> None:
    key_file.write_bytes(content)
    with pytest.raises(KeyUnavailable, match="does not hold 32 bytes"):
        LocalProvider().resolve("")
    assert key_file.read_bytes() == content


def test_it_says_what_to_do_when_the_file_cannot_be_read(key_file: Path) -> None:
    key_file.mkdir()
    with pytest.raises(KeyUnavailable, match="KEEPER_LOCAL_KEY_FILE"):
        LocalProvider().resolve("")


class TestWithAPassphrase:
    @pytest.fixture(autouse=True)
    def passphrase(self, settings: Settings) -> None:
        settings.KEEPER_LOCAL_KEY_PASSPHRASE = "a long phrase"

    def test_it_opens_with_file_and_passphrase(self) -> None:
        keeper = LocalProvider()
        made = keeper.generate(key_uri=keeper.resolve(""), context=CONTEXT)
        assert (
            LocalProvider().unwrap(key_uri=made.key_uri, wrapped=made.wrapped, context=CONTEXT) == made.plain
        )

    @pytest.mark.parametrize("other", ["", "another phrase"])
    def test_the_file_alone_opens_nothing(self, settings: Settings, other: str) -> None:
        keeper = LocalProvider()
        made = keeper.generate(key_uri=keeper.resolve(""), context=CONTEXT)
        settings.KEEPER_LOCAL_KEY_PASSPHRASE = other
        with pytest.raises(KeyUnavailable, match="KEEPER_LOCAL_KEY_PASSPHRASE"):
            LocalProvider().unwrap(key_uri=made.key_uri, wrapped=made.wrapped, context=CONTEXT)
