"""The command that creates a trust."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.models import Trust
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.trusts.sign_in import sign_in

pytestmark = pytest.mark.django_db
ISSUER = Issuer()


def run(keys: Path, *more: str, **changes: Any) -> str:
    given = {
        "environment": "production", "preset": "kubernetes", "name": "pods", "role": "reader",
        "issuer": ISSUER.url, "audience": "https://keeper.test", "jwks-file": str(keys),
    } | changes  # fmt: skip
    out = StringIO()
    call_command("issue_trust", *more, *(f"--{name}={value}" for name, value in given.items()), stdout=out)
    return out.getvalue().strip()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys.json"
    file.write_text(ISSUER.jwks())
    return file


def test_it_ends_as_asked(cast: Cast, keys: Path) -> None:
    run(keys, "--claim=sub=system:serviceaccount:shop:default", "--expires-in=never")
    assert Trust.objects.get().expires_at is None
    with pytest.raises(CommandError, match="--expires-in"):
        run(keys, "--claim=sub=x", "--expires-in=soon", name="other")


def test_it_creates_a_trust_by_which_a_pod_signs_in(cast: Cast, keys: Path) -> None:
    subject = "system:serviceaccount:shop:default"
    assert run(keys, f"--claim=sub={subject}", "--cidr=192.0.2.0/24") == "pods"
    trust = Trust.objects.get()

    assert (trust.preset, trust.single_use, trust.max_age_minutes) == ("kubernetes", False, 1440)
    assert AuditEvent.objects.get(action=Action.TRUST_CREATE).actor_kind == "system"
    assert sign_in(trust_name="pods", jwt=ISSUER.sign(sub=subject), address="192.0.2.7")


@pytest.mark.parametrize(
    ("more", "changes"),
    [
        (("--claim=sub",), {}), (("--claim==x",), {}), (("--claim=sub=a", "--claim=sub=b"), {}), ((), {}),
        (("--claim=sub=a",), {"environment": "absent"}), (("--claim=sub=a",), {"jwks-file": "/absent"}),
        (("--claim=sub=a",), {"audience": ""}),
    ],
)  # fmt: skip
def test_it_refuses_what_is_not_whole(
    cast: Cast, keys: Path, more: tuple[str, ...], changes: dict[str, str]
) -> None:
    with pytest.raises(CommandError):
        run(keys, *more, **changes)
    assert not Trust.objects.exists()


def test_programs_read_what_was_created(cast: Cast, keys: Path) -> None:
    made = json.loads(run(keys, "--claim=sub=x", "--expires-in=never", "--format=json"))
    assert made == {"uuid": str(Trust.objects.get().uuid), "name": "pods", "expires_at": None}
