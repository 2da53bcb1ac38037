"""Issuers that sign as GitHub, GitLab and Kubernetes do: sign-in, wrong claims, rotated keys, an outage."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.errors import InvalidField, JwtRefused, KeysUnavailable
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


# Which claims are enough alone, which may have a pattern, and what the event of a sign-in holds.
IDENTIFYING: Final = {
    "github": ("sub", "repository", "repository_id", "repository_owner", "repository_owner_id", "job_workflow_ref"),
    "gitlab": ("sub", "project_path", "project_id", "namespace_path", "namespace_id"),
    "kubernetes": ("sub", "/kubernetes.io/namespace"),
}  # fmt: skip
PATTERNS: Final = {
    "github": ("sub", "ref", "environment", "workflow_ref", "job_workflow_ref"),
    "gitlab": ("sub", "ref", "project_path", "environment"),
    "kubernetes": ("sub",),
}
RECORDED: Final = {
    "github": {"repository", "ref", "event_name", "workflow_ref", "run_id", "actor", "repository_owner_id"},
    "gitlab": {"project_path", "ref", "ref_protected", "pipeline_id", "job_id", "user_login"},
    "kubernetes": {"/kubernetes.io/namespace", "/kubernetes.io/pod/name"},
}


@pytest.mark.parametrize("platform", CLAIMS)
def test_each_claim_that_identifies_is_enough_and_no_other(cast: Cast, platform: str) -> None:
    for number, name in enumerate(IDENTIFYING[platform]):
        made = make_trust(cast, Issuer(), preset=platform, name=f"{number}", claims={name: "exact"})
        assert made.claims == {name: "exact"}
    with pytest.raises(InvalidField):
        make_trust(cast, Issuer(), preset=platform, claims={"runner": "exact"})


@pytest.mark.parametrize("platform", CLAIMS)
def test_a_pattern_is_of_the_claims_that_name_branches_and_files(cast: Cast, platform: str) -> None:
    exact = {IDENTIFYING[platform][1]: "exact"}
    for number, name in enumerate(PATTERNS[platform]):
        claims = {"sub": "exact", **exact, name: "begin*"}
        assert make_trust(cast, Issuer(), preset=platform, name=f"{number}", claims=claims).claims == claims
    with pytest.raises(InvalidField):
        make_trust(cast, Issuer(), preset=platform, claims={**exact, "actor": "begin*"})


@pytest.mark.parametrize("platform", CLAIMS)
def test_the_event_of_a_sign_in_holds_what_ran(cast: Cast, issuer: Issuer, platform: str) -> None:
    trust(cast, issuer, platform)
    assert enter(issuer, platform) == ""
    [event] = AuditEvent.objects.filter(action=Action.TRUST_SIGN_IN)
    assert set(json.loads(event.details)["claims"]) - {"iss", "sub", "jti"} == RECORDED[platform]


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
