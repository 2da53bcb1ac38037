"""What holds for every key provider."""

import pytest

from secrets_app.errors import KeyRefused, KeyUnavailable, WrongContext
from secrets_app.keys.providers.base import Generated, KeyProvider
from secrets_app.keys.providers.registry import PROVIDERS, forget_provider, provider

CONTEXT = {"keeper:environment": "one", "keeper:data-key": "1", "application": "keeper"}


# The key file is made where the database has no data key.
pytestmark = pytest.mark.django_db


@pytest.fixture(params=sorted(PROVIDERS))
def keeper(request: pytest.FixtureRequest) -> KeyProvider:
    if request.param == "kms":
        request.getfixturevalue("kms_key")
    return provider()


@pytest.fixture
def generated(keeper: KeyProvider) -> Generated:
    return keeper.generate(key_uri=keeper.resolve(""), context=CONTEXT)


class TestEveryProvider:
    def test_it_unwraps_what_it_wrapped(self, keeper: KeyProvider, generated: Generated) -> None:
        assert len(generated.plain) == 32
        assert generated.plain not in generated.wrapped
        opened = keeper.unwrap(key_uri=generated.key_uri, wrapped=generated.wrapped, context=CONTEXT)
        assert opened == generated.plain

    def test_it_unwraps_after_a_restart(self, keeper: KeyProvider, generated: Generated) -> None:
        forget_provider()
        restarted = provider()
        assert restarted is not keeper
        opened = restarted.unwrap(key_uri=generated.key_uri, wrapped=generated.wrapped, context=CONTEXT)
        assert opened == generated.plain

    def test_the_order_of_the_context_does_not_matter(
        self, keeper: KeyProvider, generated: Generated
    ) -> None:
        context = dict(reversed(CONTEXT.items()))
        assert keeper.unwrap(key_uri=generated.key_uri, wrapped=generated.wrapped, context=context)

    @pytest.mark.parametrize(
        "context",
        [
            {},
            {**CONTEXT, "keeper:environment": "two"},
            {**CONTEXT, "more": "x"},
            {name: value for name, value in CONTEXT.items() if name != "application"},
        ],
        ids=["none", "changed", "more", "fewer"],
    )
    def test_it_refuses_another_context(
        self, keeper: KeyProvider, generated: Generated, context: dict[str, str]
    ) -> None:
        with pytest.raises(WrongContext):
            keeper.unwrap(key_uri=generated.key_uri, wrapped=generated.wrapped, context=context)

    @pytest.mark.parametrize("place", [0, 20, -1])
    def test_it_refuses_an_edited_wrapped_key(
        self, keeper: KeyProvider, generated: Generated, place: int
    ) -> None:
        wrapped = bytearray(generated.wrapped)
        wrapped[place] ^= 1
        with pytest.raises((WrongContext, KeyUnavailable)) as raised:
            keeper.unwrap(key_uri=generated.key_uri, wrapped=bytes(wrapped), context=CONTEXT)
        assert getattr(raised.value, "permanent", True)

    @pytest.mark.parametrize("wrapped", [b"x", b"plain text", b"\x00" * 61])
    def test_it_refuses_what_is_no_wrapped_key(
        self, keeper: KeyProvider, generated: Generated, wrapped: bytes
    ) -> None:
        with pytest.raises((WrongContext, KeyUnavailable)):
            keeper.unwrap(key_uri=generated.key_uri, wrapped=wrapped, context=CONTEXT)

    @pytest.mark.parametrize("key_uri", ["", "elsewhere:key", "https://example.com/key"])
    def test_it_refuses_a_key_uri_of_another_kind(
        self, keeper: KeyProvider, generated: Generated, key_uri: str
    ) -> None:
        with pytest.raises(KeyRefused):
            keeper.unwrap(key_uri=key_uri, wrapped=generated.wrapped, context=CONTEXT)
        with pytest.raises(KeyRefused):
            keeper.generate(key_uri=key_uri, context=CONTEXT)

    def test_every_data_key_is_another(self, keeper: KeyProvider) -> None:
        key_uri = keeper.resolve("")
        keys = [keeper.generate(key_uri=key_uri, context=CONTEXT) for _ in range(5)]
        assert len({key.plain for key in keys}) == len({key.wrapped for key in keys}) == 5

    def test_it_names_a_key_the_same_way_each_time(self, keeper: KeyProvider, generated: Generated) -> None:
        assert keeper.resolve("") == keeper.resolve("") == generated.key_uri

    def test_a_new_data_key_is_not_in_its_repr(self, generated: Generated) -> None:
        assert generated.plain.hex() not in repr(generated)
        assert repr(generated.plain) not in repr(generated)

    def test_it_wraps_anew_what_opens_as_before(self, keeper: KeyProvider, generated: Generated) -> None:
        uri, old = generated.key_uri, generated.wrapped
        wrapped = keeper.rewrap(key_uri=uri, wrapped=old, context=CONTEXT, to_key_uri=uri)
        assert wrapped != old
        assert keeper.unwrap(key_uri=uri, wrapped=wrapped, context=CONTEXT) == generated.plain

    def test_it_wraps_nothing_anew_under_another_context_or_key(
        self, keeper: KeyProvider, generated: Generated
    ) -> None:
        uri, old = generated.key_uri, generated.wrapped
        with pytest.raises(WrongContext):
            keeper.rewrap(key_uri=uri, wrapped=old, context={}, to_key_uri=uri)
        with pytest.raises(KeyRefused):
            keeper.rewrap(key_uri=uri, wrapped=old, context=CONTEXT, to_key_uri="elsewhere:key")

    def test_it_describes_its_key(self, keeper: KeyProvider, generated: Generated) -> None:
        description = keeper.describe(generated.key_uri)
        assert description.usable
        assert description.state.lower() == "enabled"
        with pytest.raises(KeyRefused):
            keeper.describe("elsewhere:key")

    def test_it_counts_what_it_asks_for(self, keeper: KeyProvider, generated: Generated) -> None:
        before = keeper.calls.total()
        keeper.unwrap(key_uri=generated.key_uri, wrapped=generated.wrapped, context=CONTEXT)
        assert keeper.calls.total() == before + 1


def test_an_unknown_backend_is_refused_with_the_known_ones(settings: pytest.FixtureRequest) -> None:
    settings.KEY_MANAGEMENT_BACKEND = "vault"  # type: ignore[attr-defined]
    with pytest.raises(KeyUnavailable, match="local, kms"):
        provider()
