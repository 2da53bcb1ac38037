"""Issuers that sign as GitHub, GitLab and Kubernetes do: sign-in, wrong claims, rotated keys, an outage."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from pytest_django import Settings

from environments_app.errors import JwtRefused, KeysUnavailable
from environments_app.forms.trust import TrustForm
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer, served
from environments_app.tests.trusts.made import make_trust
from environments_app.trusts import key_source
from environments_app.trusts.key_source import forget_keys
from environments_app.trusts.sign_in import sign_in

pytestmark = pytest.mark.django_db

# As each platform documents its claims; and changes of them that must not let a workload in.
CLAIMS: Final[dict[str, dict[str, Any]]] = {
    "github": {
        "sub": "repo:example/shop:ref:refs/heads/main", "repository": "example/shop", "repository_id": "74",
        "repository_owner": "example", "repository_owner_id": "65", "ref": "refs/heads/main",
        "ref_type": "branch", "event_name": "push", "workflow_ref": "example/shop/.github/workflows/d.yml@refs/heads/main",
        "run_id": "30", "run_attempt": "2", "actor": "alice", "runner_environment": "github-hosted",
    },
    "gitlab": {
        "sub": "project_path:example/shop:ref_type:branch:ref:main", "project_path": "example/shop",
        "project_id": "22", "namespace_path": "example", "namespace_id": "72", "ref": "main",
        "ref_type": "branch", "ref_protected": "true", "pipeline_id": "574", "job_id": "302",
        "user_login": "alice", "pipeline_source": "push",
    },
    "kubernetes": {
        "sub": "system:serviceaccount:shop:default", "jti": ...,
        "kubernetes.io": {
            "namespace": "shop", "node": {"name": "n", "uid": "1"}, "pod": {"name": "web-1", "uid": "2"},
            "serviceaccount": {"name": "default", "uid": "3"}, "warnafter": 1,
        },
    },
}  # fmt: skip
DEMANDS: Final = {
    "github": {"repository": "example/shop", "sub": "repo:example/shop:ref:refs/heads/*"},
    "gitlab": {"project_path": "example/shop", "ref": "main", "ref_protected": "true"},
    "kubernetes": {"/kubernetes.io/namespace": "shop", "sub": "system:serviceaccount:shop:*"},
}
WRONG: Final = [
    ("github", {"repository": "mallory/shop"}),
    ("github", {"sub": "repo:example/shop:pull_request"}),
    ("github", {"event_name": "pull_request_target"}),
    ("gitlab", {"project_path": "mallory/shop"}),
    ("gitlab", {"ref_protected": "false"}),
    ("kubernetes", {"sub": "system:serviceaccount:other:default"}),
    ("kubernetes", {"kubernetes.io": {"namespace": "other"}}),
    ("kubernetes", {"kubernetes.io": "shop"}),
]


@pytest.fixture
def issuer(settings: Settings, socket_enabled: None) -> Iterator[Issuer]:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    forget_keys()
    with served(Issuer()) as running:
        yield running


def trust(cast: Cast, issuer: Issuer, platform: str) -> None:
    make_trust(cast, issuer, preset=platform, jwks="", claims=DEMANDS[platform])


def enter(issuer: Issuer, platform: str, **changes: Any) -> str:
    """Sign in as a workload of a platform; return the reason of a refusal, "" for none."""
    jwt = issuer.sign(**CLAIMS[platform] | changes)
    try:
        sign_in(trust_name="ci", jwt=jwt, address="192.0.2.7")
    except JwtRefused as error:
        return error.reason
    return ""


@pytest.mark.parametrize("platform", CLAIMS)
def test_a_workload_signs_in(cast: Cast, issuer: Issuer, platform: str) -> None:
    trust(cast, issuer, platform)

    assert enter(issuer, platform) == ""
    assert enter(issuer, platform) == ""
    assert issuer.requests == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(("platform", "changes"), WRONG)
def test_another_workload_does_not(
    cast: Cast, issuer: Issuer, platform: str, changes: dict[str, Any]
) -> None:
    trust(cast, issuer, platform)

    assert enter(issuer, platform, **changes) == "jwt-claim"


@pytest.mark.parametrize("platform", CLAIMS)
def test_rotated_keys_are_found_and_an_outage_is_borne(
    cast: Cast, issuer: Issuer, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(cast, issuer, platform)
    assert enter(issuer, platform) == ""
    issuer.rotate("two")
    assert enter(issuer, platform) == "jwt-unknown-key"
    monkeypatch.setattr(key_source, "COOL_DOWN_SECONDS", 0)
    assert enter(issuer, platform) == ""
    issuer.answers["/.well-known/openid-configuration"] = (503, {}, b"")
    monkeypatch.setattr(key_source, "FRESH_SECONDS", 0)
    assert enter(issuer, platform) == ""
    forget_keys()
    with pytest.raises(KeysUnavailable):
        enter(issuer, platform)


@pytest.mark.parametrize("preset", ["github", "gitlab"])
def test_a_new_form_shows_an_example_and_trusts_nobody_by_it(preset: str) -> None:
    form = TrustForm(preset=preset, initial=TrustForm.initial_of_preset(preset))
    assert "example/shop" in str(form["claims"])
    assert form["claims"].value() is None
