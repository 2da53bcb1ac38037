"""What Vault's answers mean: tried again, a change, or for an operator; none repeats what Vault says."""

import pytest

from sync_app.backends.vault.connection import translate_error
from sync_app.errors import (
    BackendError,
    ChangedSinceRead,
    MountMissing,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    TargetBusy,
    TargetSealed,
    TargetStandby,
)


@pytest.mark.parametrize(
    ("status", "said", "meaning"),
    [
        (307, "", TargetStandby),
        (501, "not initialized", TargetStandby),
        (503, "Vault is sealed", TargetSealed),
        (503, "", TargetStandby),
        # The word alone is no state of the server.
        (400, "sealed", RequestRefused),
        (401, "", PermissionMissing),
        (403, "permission denied", PermissionMissing),
        (404, "no handler for route", MountMissing),
        (400, "check-and-set parameter did not match the current version", ChangedSinceRead),
        (400, "Upgrading from non-versioned to versioned data", TargetBusy),
        (400, "upgrading", TargetBusy),
        (412, "required index state not present", TargetBusy),
        (413, "request body too large", QuotaExceeded),
        (429, "", TargetBusy),
        (500, "", TargetBusy),
        (502, "", TargetBusy),
        (400, "invalid request", RequestRefused),
        (405, "unsupported operation", RequestRefused),
    ],
)
def test_an_answer_has_one_meaning(status: int, said: str, meaning: type[BackendError]) -> None:
    told = translate_error("POST", "secret/data/team/db", status, [said, "p4ssword"])
    assert (type(told), "p4ssword" in str(told)) == (meaning, False)


@pytest.mark.parametrize(
    ("method", "capability"),
    [("GET", "read or list"), ("POST", "create and update"), ("DELETE", "delete"), ("PATCH", "patch")],
)
def test_a_denial_names_the_capability_and_the_path(method: str, capability: str) -> None:
    told = translate_error(method, "secret/data/team/db", 403, [])
    assert f"lacks {capability} on secret/data/team/db" in str(told)
