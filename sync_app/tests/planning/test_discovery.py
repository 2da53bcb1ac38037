"""What a pass concludes from the values of both sides, which it reads after it looked at their versions."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from environments_app.tests.cast import Cast
from sync_app.backends.observations import SecretValue
from sync_app.planning.discovery import Finding, compare_values
from sync_app.tests.planning.test_draft_items import LOCAL, REMOTE
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.django_db
LATER = replace(REMOTE, version="t2")


@pytest.mark.parametrize(
    ("copy", "equal"),
    [
        (SecretValue(metadata=REMOTE, value="same"), True),
        (SecretValue(metadata=LATER, value="same"), None),
        (None, None),
    ],
    ids=["as it was seen", "written meanwhile", "deleted meanwhile"],
)
def test_a_value_of_another_version_than_was_seen_decides_nothing(
    cast: Cast, copy: SecretValue | None, equal: bool | None
) -> None:
    finding = Finding(name="one", local=LOCAL, remote=REMOTE)
    matcher: Any = SimpleNamespace(
        plan=SimpleNamespace(target=make_target(cast.development)),
        backend=SimpleNamespace(
            capabilities=SimpleNamespace(reads_values=True), read_value=lambda _name: copy
        ),
        by_fingerprint=lambda _comparison: True,
        by_value=lambda comparisons: [True for _ in comparisons],
    )
    compare_values(matcher, {"one": finding}, everything=True)
    assert finding.equal is equal
