"""The KMS provider, against a KMS over HTTP: which keys it uses, and what it says when refused.

How each fault of KMS looks to an operator is in test_faults.py.
"""

import socket
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from pytest_django import Settings

from secrets_app.errors import KeyRefused, KeyUnavailable, WrongContext
from secrets_app.keys.providers.aws_kms.provider import KmsProvider

CONTEXT = {"keeper:data-key": "1"}


@pytest.fixture
def keeper(kms_key: str) -> KmsProvider:
    return KmsProvider()


def another_key(kms_client: Any) -> str:
    arn: str = kms_client.create_key()["KeyMetadata"]["Arn"]
    return arn


class TestNamingAKey:
    def test_an_arn_needs_no_call(self, keeper: KmsProvider, kms_key: str) -> None:
        assert keeper.resolve(kms_key) == kms_key
        assert keeper.calls.total() == 0

    def test_an_alias_is_resolved_once(
        self, keeper: KmsProvider, kms_client: Any, kms_key: str, settings: Settings
    ) -> None:
        settings.KMS_KEY_ID, settings.KMS_KEY_ALIAS = "", f"alias/{kms_key[-12:]}"
        kms_client.create_alias(AliasName=settings.KMS_KEY_ALIAS, TargetKeyId=kms_key)
        assert [keeper.resolve("") for _ in range(3)] == [kms_key] * 3
        assert dict(keeper.calls) == {"DescribeKey": 1}

    def test_an_alias_that_was_pointed_elsewhere_is_noticed_in_time(
        self, keeper: KmsProvider, kms_client: Any, kms_key: str, settings: Settings
    ) -> None:
        alias, other = f"alias/later-{kms_key[-12:]}", another_key(kms_client)
        kms_client.create_alias(AliasName=alias, TargetKeyId=kms_key)
        assert keeper.resolve(alias) == kms_key
        kms_client.update_alias(AliasName=alias, TargetKeyId=other)
        assert keeper.resolve(alias) == kms_key
        assert keeper.resolve(alias, fresh=True) == other
        kms_client.update_alias(AliasName=alias, TargetKeyId=kms_key)
        settings.KMS_DEK_CACHE_TTL = 0
        assert keeper.resolve(alias) == kms_key

    def test_an_old_answer_about_the_configured_key_still_tells_its_account(
        self, keeper: KmsProvider, kms_client: Any, kms_key: str, settings: Settings
    ) -> None:
        alias = f"alias/scope-{kms_key[-12:]}"
        kms_client.create_alias(AliasName=alias, TargetKeyId=kms_key)
        settings.KMS_KEY_ID, settings.KMS_KEY_ALIAS, settings.KMS_DEK_CACHE_TTL = "", alias, 0
        made = keeper.generate(key_uri=keeper.resolve(""), context=CONTEXT)
        keeper.calls.clear()
        keeper.unwrap(key_uri=made.key_uri, wrapped=made.wrapped, context=CONTEXT)
        assert dict(keeper.calls) == {"Decrypt": 1}

    def test_an_alias_may_be_configured_without_its_prefix(
        self, keeper: KmsProvider, kms_client: Any, kms_key: str, settings: Settings
    ) -> None:
        settings.KMS_KEY_ID, settings.KMS_KEY_ALIAS = "", f"plain-{kms_key[-12:]}"
        kms_client.create_alias(AliasName=f"alias/{settings.KMS_KEY_ALIAS}", TargetKeyId=kms_key)
        assert keeper.resolve("") == kms_key

    def test_a_key_id_is_resolved(self, keeper: KmsProvider, kms_key: str) -> None:
        assert keeper.resolve(kms_key.rpartition("/")[2]) == kms_key

    def test_an_alias_pointed_elsewhere_leaves_what_it_wrapped(
        self, keeper: KmsProvider, kms_client: Any, kms_key: str
    ) -> None:
        alias = f"alias/moved-{kms_key[-12:]}"
        kms_client.create_alias(AliasName=alias, TargetKeyId=kms_key)
        made = keeper.generate(key_uri=keeper.resolve(alias), context=CONTEXT)
        kms_client.update_alias(AliasName=alias, TargetKeyId=another_key(kms_client))
        assert KmsProvider().unwrap(key_uri=made.key_uri, wrapped=made.wrapped, context=CONTEXT) == made.plain

    def test_it_refuses_a_disabled_key_at_once(
        self, keeper: KmsProvider, kms_client: Any, kms_key: str
    ) -> None:
        kms_client.disable_key(KeyId=kms_key.rpartition("/")[2])
        with pytest.raises(KeyUnavailable, match="disabled"):
            keeper.resolve(kms_key.rpartition("/")[2])

    def test_it_says_what_to_do_without_a_configured_key(
        self, keeper: KmsProvider, settings: Settings
    ) -> None:
        settings.KMS_KEY_ID = ""
        with pytest.raises(KeyUnavailable, match="set KMS_KEY_ID or KMS_KEY_ALIAS"):
            keeper.resolve("")

    def test_it_says_what_to_do_about_an_unknown_alias(self, keeper: KmsProvider) -> None:
        with pytest.raises(KeyUnavailable, match="no KMS key alias/nowhere") as raised:
            keeper.resolve("alias/nowhere")
        assert raised.value.permanent


class TestWhichKeysMayBeUsed:
    def test_those_of_the_configured_keys_account_and_region(
        self, keeper: KmsProvider, kms_client: Any
    ) -> None:
        made = keeper.generate(key_uri=another_key(kms_client), context=CONTEXT)
        assert keeper.unwrap(key_uri=made.key_uri, wrapped=made.wrapped, context=CONTEXT) == made.plain

    @pytest.mark.parametrize(
        ("part", "other"), [("eu-central-1", "us-east-1"), ("123456789012", "210987654321")]
    )
    def test_no_other_accounts_or_regions_key(
        self, keeper: KmsProvider, kms_key: str, part: str, other: str
    ) -> None:
        assert part in kms_key
        with pytest.raises(KeyRefused):
            keeper.resolve(kms_key.replace(part, other))
        assert keeper.calls.total() == 0

    def test_only_those_on_the_list_if_there_is_one(
        self, keeper: KmsProvider, kms_client: Any, kms_key: str, settings: Settings
    ) -> None:
        planted = another_key(kms_client)
        made = keeper.generate(key_uri=planted, context=CONTEXT)
        settings.KMS_ALLOWED_KEYS = [kms_key]
        with pytest.raises(KeyRefused, match="KMS_ALLOWED_KEYS"):
            keeper.unwrap(key_uri=planted, wrapped=made.wrapped, context=CONTEXT)
        with pytest.raises(KeyRefused):
            keeper.generate(key_uri=planted, context=CONTEXT)
        assert keeper.resolve(kms_key) == kms_key

    def test_an_allowed_arn_is_no_prefix(self, keeper: KmsProvider, kms_key: str, settings: Settings) -> None:
        settings.KMS_ALLOWED_KEYS = [kms_key[:-1]]
        with pytest.raises(KeyRefused):
            keeper.resolve(kms_key)

    def test_an_account_and_region_may_be_allowed(
        self, keeper: KmsProvider, kms_key: str, settings: Settings
    ) -> None:
        settings.KMS_ALLOWED_KEYS = [kms_key.partition("key/")[0]]
        assert keeper.resolve(kms_key) == kms_key

    def test_an_alias_of_a_key_that_is_not_allowed_is_refused(
        self, keeper: KmsProvider, kms_client: Any, kms_key: str, settings: Settings
    ) -> None:
        alias = f"alias/foreign-{kms_key[-12:]}"
        kms_client.create_alias(AliasName=alias, TargetKeyId=another_key(kms_client))
        settings.KMS_ALLOWED_KEYS = [kms_key]
        with pytest.raises(KeyRefused):
            keeper.resolve(alias)


class TestItsRequests:
    def test_another_allowed_key_does_not_open_it(
        self, keeper: KmsProvider, kms_client: Any, kms_key: str
    ) -> None:
        made = keeper.generate(key_uri=kms_key, context=CONTEXT)
        with pytest.raises((WrongContext, KeyUnavailable)):
            keeper.unwrap(key_uri=another_key(kms_client), wrapped=made.wrapped, context=CONTEXT)

    def test_it_refuses_an_answer_that_names_another_key(
        self, keeper: KmsProvider, kms_key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = {"KeyId": kms_key[:-1] + "x", "Plaintext": b"p" * 32, "CiphertextBlob": b"c"}
        for operation in ("generate_data_key", "decrypt"):
            monkeypatch.setattr(keeper._client, operation, lambda **_request: answer)
        with pytest.raises(KeyRefused, match="another key"):
            keeper.unwrap(key_uri=kms_key, wrapped=b"c", context=CONTEXT)
        with pytest.raises(KeyRefused, match="another key"):
            keeper.generate(key_uri=kms_key, context=CONTEXT)

    def test_it_asks_once_a_key(self, keeper: KmsProvider, kms_key: str) -> None:
        made = keeper.generate(key_uri=kms_key, context=CONTEXT)
        keeper.unwrap(key_uri=kms_key, wrapped=made.wrapped, context=CONTEXT)
        assert dict(keeper.calls) == {"GenerateDataKey": 1, "Decrypt": 1}

    def test_its_client_gives_up_in_time(self, keeper: KmsProvider, settings: Settings) -> None:
        config: Any = keeper._client.meta.config
        assert config.connect_timeout == config.read_timeout == settings.KMS_TIMEOUT_SECONDS
        assert config.retries["total_max_attempts"] == 1
        assert config.retries["mode"] == "standard"


class TestWithoutTls:
    @pytest.mark.parametrize("host", ["kms.example.com", "192.0.2.7", "10.0.0.7"])
    def test_it_does_not_ask_over_a_network(
        self, kms_key: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, host: str
    ) -> None:
        found = [(2, 1, 6, "", ("192.0.2.7", 80))]
        if host[0] == "k":
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_asked, **_options: found)
        settings.AWS_ENDPOINT_URL_KMS = f"http://{host}:8080"
        with pytest.raises(KeyUnavailable, match="without TLS") as raised:
            KmsProvider().generate(key_uri=kms_key, context=CONTEXT)
        assert raised.value.permanent

    def test_it_asks_inside_a_network_that_is_allowed(self, kms_key: str, settings: Settings) -> None:
        settings.AWS_ENDPOINT_URL_KMS = "http://192.0.2.7:8080"
        settings.KEEPER_OUTBOUND_ALLOWED = ["192.0.2.0/24"]
        assert KmsProvider()._client.meta.endpoint_url == "http://192.0.2.7:8080"


class TestRefusals:
    @pytest.mark.parametrize(
        ("code", "advice"),
        [
            ("AccessDeniedException", "allow this installation's AWS identity"),
            ("DisabledException", "enable it again"),
            ("KMSInvalidStateException", "look at it"),
            ("NotFoundException", "there is no KMS key"),
            ("UnrecognizedClientException", "AWS credentials"),
            ("ExpiredTokenException", "renew"),
        ],
    )
    def test_a_lasting_one_says_what_to_do(
        self, keeper: KmsProvider, kms_key: str, monkeypatch: pytest.MonkeyPatch, code: str, advice: str
    ) -> None:
        raised = self.refused(keeper, kms_key, monkeypatch, client_error(code))
        assert isinstance(raised, KeyUnavailable)
        assert advice in str(raised)
        assert raised.permanent
        assert not raised.throttled

    @pytest.mark.parametrize("code", ["ThrottlingException", "LimitExceededException"])
    def test_throttling_is_told_apart(
        self, keeper: KmsProvider, kms_key: str, monkeypatch: pytest.MonkeyPatch, code: str
    ) -> None:
        raised = self.refused(keeper, kms_key, monkeypatch, client_error(code))
        assert isinstance(raised, KeyUnavailable)
        assert raised.throttled
        assert not raised.permanent

    @pytest.mark.parametrize(
        "error",
        [
            ClientError({"Error": {"Code": "KMSInternalException", "Message": "x"}}, "Decrypt"),
            ClientError({"Error": {"Code": "KeyUnavailableException", "Message": "x"}}, "Decrypt"),
            ClientError({}, "Decrypt"),
            ConnectTimeoutError(endpoint_url="https://kms"),
        ],
    )
    def test_a_passing_one_may_be_tried_again(
        self, keeper: KmsProvider, kms_key: str, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        raised = self.refused(keeper, kms_key, monkeypatch, error)
        assert isinstance(raised, KeyUnavailable)
        assert not raised.permanent
        assert not raised.throttled

    @pytest.mark.parametrize("code", ["InvalidCiphertextException", "IncorrectKeyException"])
    def test_what_kms_cannot_open_was_tampered_with(
        self, keeper: KmsProvider, kms_key: str, monkeypatch: pytest.MonkeyPatch, code: str
    ) -> None:
        assert isinstance(self.refused(keeper, kms_key, monkeypatch, client_error(code)), WrongContext)

    def test_no_message_repeats_what_kms_said(
        self, keeper: KmsProvider, kms_key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        raised = self.refused(keeper, kms_key, monkeypatch, client_error("AccessDeniedException"))
        assert "said by the service" not in str(raised)

    def test_a_kms_that_is_away_is_a_passing_failure(self, kms_key: str, settings: Settings) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            settings.AWS_ENDPOINT_URL_KMS = f"http://127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(KeyUnavailable, match="check the network") as raised:
                KmsProvider().generate(key_uri=kms_key, context=CONTEXT)
        assert not raised.value.permanent

    def refused(
        self, keeper: KmsProvider, kms_key: str, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> Exception:
        def decrypt(**_request: Any) -> None:
            raise error

        monkeypatch.setattr(keeper._client, "decrypt", decrypt)
        with pytest.raises((KeyUnavailable, WrongContext)) as raised:
            keeper.unwrap(key_uri=kms_key, wrapped=b"c", context=CONTEXT)
        return raised.value


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "said by the service"}}, "Decrypt")


class TestAnotherKey:
    def test_kms_itself_wraps_a_data_key_under_another_key(
        self, keeper: KmsProvider, kms_client: Any, kms_key: str
    ) -> None:
        made, other = keeper.generate(key_uri=kms_key, context=CONTEXT), another_key(kms_client)
        keeper.calls.clear()
        wrapped = keeper.rewrap(key_uri=kms_key, wrapped=made.wrapped, context=CONTEXT, to_key_uri=other)
        assert dict(keeper.calls) == {"ReEncrypt": 1}
        assert keeper.unwrap(key_uri=other, wrapped=wrapped, context=CONTEXT) == made.plain

    def test_it_does_not_wrap_under_a_key_that_is_not_allowed(
        self, keeper: KmsProvider, kms_client: Any, kms_key: str, settings: Settings
    ) -> None:
        made, other = keeper.generate(key_uri=kms_key, context=CONTEXT), another_key(kms_client)
        settings.KMS_ALLOWED_KEYS = [kms_key]
        keeper.calls.clear()
        for source, target in ((kms_key, other), (other, kms_key)):
            with pytest.raises(KeyRefused):
                keeper.rewrap(key_uri=source, wrapped=made.wrapped, context=CONTEXT, to_key_uri=target)
        assert not keeper.calls

    @pytest.mark.parametrize("lie", [{"KeyId": "other"}, {"SourceKeyId": "other"}])
    def test_it_believes_no_reply_about_another_key(
        self, keeper: KmsProvider, kms_key: str, monkeypatch: pytest.MonkeyPatch, lie: dict[str, str]
    ) -> None:
        reply = {"KeyId": kms_key, "SourceKeyId": kms_key, "CiphertextBlob": b"c", **lie}
        monkeypatch.setattr(keeper._client, "re_encrypt", lambda **_request: reply)
        with pytest.raises(KeyRefused, match="another key"):
            keeper.rewrap(key_uri=kms_key, wrapped=b"c", context=CONTEXT, to_key_uri=kms_key)

    def test_rotation_is_turned_on_once(self, keeper: KmsProvider, kms_client: Any, kms_key: str) -> None:
        assert [keeper.enable_automatic_rotation(kms_key) for _ in range(2)] == [True, False]
        assert kms_client.get_key_rotation_status(KeyId=kms_key)["KeyRotationEnabled"]
