"""Issuers that sign as clouds and CI platforms do: a good token of each signs in, and wrong ones do not."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from django.test import Client

from environments_app.errors import InvalidField, JwtRefused
from environments_app.forms.trust import TrustForm
from environments_app.models import Environment, Trust, TrustAlgorithm, TrustPreset, User
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.trusts.jwt.rules import claim_texts, require_claim_name
from environments_app.trusts.presets import PRESETS
from environments_app.trusts.sign_in import sign_in
from environments_app.views.trusts import workflow_of

pytestmark = pytest.mark.django_db
GUID: Final = "00000000-1111-2222-3333-444444444444"
OTHER: Final = "99999999-1111-2222-3333-444444444444"
STS: Final = "https://sts.amazonaws.com/"
ROLE: Final = "arn:aws:iam::111122223333:role/shop"
CIRCLE: Final = "oidc.circleci.com/"
# The issuer, and the claims as each platform documents them.
CLAIMS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "aws": ("https://id1.tokens.sts.global.api.aws", {
        "sub": ROLE, STS: {"aws_account": "111122223333", "source_region": "eu-central-1", "org_id": "o-1"},
    }),
    "gcp": ("https://accounts.google.com", {
        "sub": "1045", "azp": "1045", "email": "shop@example.iam.gserviceaccount.com", "email_verified": True,
        "google": {"compute_engine": {"project_id": "example", "zone": "europe-west3-a"}}, "jti": ...,
    }),
    "azure": (f"https://sts.windows.net/{GUID}/", {
        "oid": GUID, "sub": GUID, "tid": GUID, "appid": GUID, "idtyp": "app", "jti": ...,
        "xms_mirid": f"/subscriptions/{GUID}/resourcegroups/shop/providers/Microsoft.ManagedIdentity/x/shop",
    }),
    "circleci": (f"https://oidc.circleci.com/org/{GUID}", {
        "sub": f"org/{GUID}/project/{GUID}/user/{GUID}/vcs-origin/github.com/example/shop/vcs-ref/refs/heads/main",
        f"{CIRCLE}project-id": GUID, f"{CIRCLE}vcs-origin": "github.com/example/shop",
        f"{CIRCLE}vcs-ref": "refs/heads/main", f"{CIRCLE}ssh-rerun": False,
    }),
    "buildkite": ("https://agent.buildkite.com", {
        "sub": "organization:example:pipeline:shop:ref:refs/heads/main:commit:1:step:deploy",
        "organization_slug": "example", "pipeline_slug": "shop", "build_branch": "main", "job_id": GUID, "jti": ...,
    }),
    "terraform": ("https://app.terraform.io", {
        "sub": "organization:example:project:p:workspace:shop:run_phase:apply",
        "terraform_organization_name": "example", "terraform_workspace_name": "shop", "terraform_run_phase": "apply",
        "terraform_full_workspace": "organization:example:project:p:workspace:shop", "jti": ...,
    }),
    "bitbucket": ("https://api.bitbucket.org/2.0/workspaces/example/pipelines-config/identity/oidc", {
        "sub": f"{{{GUID}}}:{{{OTHER}}}", "repositoryUuid": f"{{{GUID}}}", "workspaceUuid": f"{{{GUID}}}",
        "deploymentEnvironmentUuid": f"{{{GUID}}}", "branchName": "main",
    }),
}  # fmt: skip
DEMANDS: Final[dict[str, dict[str, str]]] = {
    "aws": {"sub": ROLE, "/https:~1~1sts.amazonaws.com~1/aws_account": "111122223333"},
    "gcp": {"email": "shop@example.iam.gserviceaccount.com"},
    "azure": {"oid": GUID},
    "circleci": {f"{CIRCLE}project-id": GUID, f"{CIRCLE}vcs-origin": "github.com/example/shop"},
    "buildkite": {"organization_slug": "example", "pipeline_slug": "shop", "build_branch": "main"},
    "terraform": {
        "terraform_organization_name": "example", "terraform_workspace_name": "shop", "terraform_run_phase": "apply",
    },
    "bitbucket": {"repositoryUuid": f"{{{GUID}}}", "deploymentEnvironmentUuid": f"{{{GUID}}}"},
}  # fmt: skip
# What is wrong in tokens of the same issuer, of other customers and other workloads.
WRONG: Final[dict[str, list[dict[str, Any]]]] = {
    "aws": [{"sub": "arn:aws:iam::111122223333:role/other"}, {STS: {"aws_account": "444455556666"}}, {STS: {}}],
    "gcp": [{"email": "mallory@gmail.com"}, {"email_verified": False}, {"email_verified": ...}],
    "azure": [{"oid": OTHER}, {"oid": ...}, {"oid": [OTHER]}],
    "circleci": [
        {f"{CIRCLE}project-id": OTHER}, {f"{CIRCLE}ssh-rerun": True}, {f"{CIRCLE}vcs-origin": "github.com/fork/shop"},
    ],
    "buildkite": [{"organization_slug": "mallory"}, {"pipeline_slug": "other"}, {"build_branch": "feature"}],
    "terraform": [
        {"terraform_organization_name": "mallory"}, {"terraform_workspace_name": "other"}, {"terraform_run_phase": "plan"},
    ],
    "bitbucket": [
        {"repositoryUuid": f"{{{OTHER}}}"}, {"repositoryUuid": GUID}, {"deploymentEnvironmentUuid": ...},
    ],
}  # fmt: skip
NEW: Final = sorted(CLAIMS)


def trust_of(cast: Cast, platform: str, **fields: Any) -> tuple[Trust, Issuer]:
    issuer = Issuer(CLAIMS[platform][0])
    given = {
        "preset": platform,
        "claims": DEMANDS[platform],
        "single_use": PRESETS[platform].single_use,
        **fields,
    }
    return make_trust(cast, issuer, **given), issuer


def enter(issuer: Issuer, platform: str, **changes: Any) -> str:
    try:
        jwt = issuer.sign(**{**CLAIMS[platform][1], **changes})
        sign_in(trust_name="ci", jwt=jwt, address="192.0.2.7")
    except JwtRefused as error:
        return error.reason
    return ""


@pytest.mark.parametrize("platform", NEW)
def test_a_good_token_signs_in_and_wrong_ones_do_not(cast: Cast, platform: str) -> None:
    _, issuer = trust_of(cast, platform)
    assert enter(issuer, platform) == ""
    for changes in WRONG[platform]:
        assert enter(issuer, platform, **changes) == "jwt-claim"
    assert enter(issuer, platform, iss="https://evil.example") in {"jwt-issuer", "jwt-unknown-key"}
    assert enter(issuer, platform, aud="https://other.example") == "jwt-audience"
    assert enter(issuer, platform, aud=["https://keeper.test", "https://other.example"]) == "jwt-audience"
    assert enter(issuer, platform, exp=int(time.time()) - 60) == "jwt-expired"
    stranger = Issuer(issuer.url)
    stranger.rotate("one")
    assert enter(stranger, platform) == "jwt-signature"


def test_a_token_of_aws_is_accepted_once(cast: Cast) -> None:
    _, issuer = trust_of(cast, "aws")
    assert enter(issuer, "aws", jti="the-one") == ""
    assert enter(issuer, "aws", jti="the-one") == "jwt-replayed"


@pytest.mark.parametrize(
    ("platform", "claims"),
    [
        ("buildkite", {"organization_slug": "example"}),
        ("buildkite", {"pipeline_slug": "shop"}),
        ("buildkite", {"organization_slug": "example", "build_branch": "main"}),
        ("buildkite", {"sub": "organization:example:pipeline:shop:ref:*"}),
        ("terraform", {"terraform_organization_name": "example"}),
        ("terraform", {"terraform_workspace_name": "shop"}),
        ("terraform", {"terraform_organization_name": "example", "terraform_run_phase": "apply"}),
        ("gcp", {"google": "x"}),
        ("gcp", {"email": "shop@*"}),
        ("azure", {"tid": GUID}),
        ("aws", {"/https:~1~1sts.amazonaws.com~1/request_tags/team": "shop"}),
        ("circleci", {f"{CIRCLE}vcs-origin": "github.com/example/shop"}),
        ("bitbucket", {"branchName": "main"}),
        ("bitbucket", {"repositoryUuid": f"{{{GUID}}}", "branchName": "rel*"}),
    ],
    ids=range(14),
)
def test_claims_that_other_customers_could_have_are_not_enough(
    cast: Cast, platform: str, claims: dict[str, str]
) -> None:
    with pytest.raises(InvalidField) as refused:
        trust_of(cast, platform, claims=claims)
    assert refused.value.field == "claims"


@pytest.mark.parametrize("key", sorted(PRESETS))
def test_a_preset_names_claims_of_its_own_example(key: str) -> None:
    preset = PRESETS[key]
    assert TrustPreset(key).label == preset.label
    assert preset.algorithm in TrustAlgorithm.values
    assert preset.identifies(preset.example)
    for asked in preset.asks:
        require_claim_name(asked.claim)
    if key in CLAIMS:
        assert preset.issuer in {"", CLAIMS[key][0]}
        for asked in preset.asks:
            assert claim_texts(CLAIMS[key][1], asked.claim), asked.claim


FORM: Final = {
    "name": "ci", "issuer": "https://agent.buildkite.com", "audience": "https://keeper.test", "algorithm": "RS256",
    "role": "reader", "lifetime_minutes": "15", "max_age_minutes": "15", "claims": "",
}  # fmt: skip


def _posted(preset: str, **fields: str) -> TrustForm:
    data = {f"trust-{name}": value for name, value in {**FORM, **fields}.items()}
    return TrustForm({**data, **FORM, **fields}, preset=preset, initial=TrustForm.initial_of_preset(preset))


def test_the_form_asks_for_a_repository_and_not_for_claims() -> None:
    form = _posted("github", claim_1="example/shop", claim_2="main", claims="actor = alice")
    assert [form.fields[f"claim_{number}"].label for number in (1, 2, 3)] == [
        "Repository",
        "Branch",
        "Environment",
    ]
    assert form.is_valid(), form.errors
    assert form.cleaned_data["claims"] == {
        "repository": "example/shop", "ref": "refs/heads/main", "actor": "alice",
    }  # fmt: skip
    assert not any(name.startswith("claim_") for name in form.cleaned_data)
    tag = _posted("github", claim_1="example/shop", claim_2="refs/tags/v*")
    assert tag.is_valid()
    assert tag.cleaned_data["claims"]["ref"] == "refs/tags/v*"


def test_a_claim_is_asked_for_at_one_place() -> None:
    form = _posted("github", claim_1="example/shop", claims="repository = example/other")
    assert not form.is_valid()
    assert "Repository" in str(form.errors)


def test_the_form_of_a_trust_shows_its_claims_by_their_labels(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    trust, _ = trust_of(cast, "circleci", environment=cast.development)
    page = signed_in(cast.alice).get(f"/environments/development/trusts/{trust.pk}")
    form = page.context["change_form"]
    assert form.initial["claim_1"] == GUID
    assert form.initial["claims"] == ""
    content = page.content.decode()
    assert "Reruns with SSH are refused" in content
    assert "circleci run oidc get" in content
    assert "pull_request_target" not in content


@pytest.mark.parametrize("key", [key for key in sorted(PRESETS) if PRESETS[key].fetch])
def test_the_lines_to_copy_are_of_the_shell(key: str) -> None:
    audience = "api://keeper; touch /tmp/x"
    trust = Trust(
        preset=key, name="ci", audience=audience, role="reader", environment=Environment(name="production")
    )
    lines = workflow_of(trust, server="https://keeper.example.com")
    bash = shutil.which("bash")
    assert bash is not None
    checked = subprocess.run([bash, "-n"], input=lines, text=True, capture_output=True, check=False)
    assert checked.stderr == ""
    assert audience not in lines.replace(f"'{audience}'", "")
    assert json.dumps(trust.name) in lines
