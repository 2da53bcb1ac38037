"""What a second person decides about a policy of a protected environment, and what none may do alone."""

from typing import Any

import pytest

from environments_app.errors import ApprovalNeeded, Conflict
from environments_app.models import Approval
from environments_app.tests.cast import Cast
from sync_app.models import RotationPolicy
from sync_app.rotation.policies import service as policies
from sync_app.rotation.policies.credentials import seal_credentials
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.tests.rotation.making import made_policy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


def protect(cast: Cast) -> None:
    cast.development.protected = True
    cast.development.save()


def test_who_approves_resuming_sees_every_setting_and_no_credential(
    cast: Cast, mariadb: MariaDbWorld
) -> None:
    alice = cast.principal(cast.alice)
    rules: dict[str, Any] = {
        "window": "mon-fri 01:00-05:00",
        "time_zone": "Europe/Berlin",
        "waits_for_consumers": True,
    }
    policy = policies.suspend(actor=alice, policy=made_policy(cast, mariadb, **rules))
    protect(cast)
    with pytest.raises(ApprovalNeeded):
        policies.resume(actor=alice, policy=stored(policy))
    shown = {line["label"]: line["after"] for line in Approval.objects.get().summary}
    settings = mariadb.settings()
    assert (shown["Login A"], shown["Login B"]) == (settings["login_a"], settings["login_b"])
    assert (shown["Host"], shown["TLS"]) == (settings["host"], "verify-identity")
    assert shown["Window"] == "mon-fri 01:00-05:00 (Europe/Berlin)"
    assert shown["The previous value ends"] == "after each consumer has confirmed"
    assert mariadb.admin()["password"] not in str(shown)


def test_the_credentials_of_a_running_policy_are_not_replaced_by_one_person(
    cast: Cast, mariadb: MariaDbWorld
) -> None:
    alice, credentials = cast.principal(cast.alice), mariadb.admin()
    policy = made_policy(cast, mariadb)
    protect(cast)
    before = sealed()
    with pytest.raises(Conflict, match="suspend the policy"):
        policies.change_connection(actor=alice, policy=stored(policy), credentials=credentials)
    assert sealed() == before
    policies.suspend(actor=alice, policy=stored(policy))
    policies.change_connection(actor=alice, policy=stored(policy), credentials=credentials)
    assert sealed() != before


def test_nor_of_one_that_was_resumed_meanwhile(
    cast: Cast, mariadb: MariaDbWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = cast.principal(cast.alice)
    policy = policies.suspend(actor=alice, policy=made_policy(cast, mariadb))
    before = sealed()

    def then(*given: Any) -> None:
        seal_credentials(*given)
        policies.resume(actor=alice, policy=stored(policy))
        protect(cast)

    monkeypatch.setattr(f"{policies.__name__}.seal_credentials", then)
    with pytest.raises(Conflict, match="suspend the policy"):
        policies.change_connection(actor=alice, policy=stored(policy), credentials=mariadb.admin())
    assert sealed() == before


def stored(policy: RotationPolicy) -> RotationPolicy:
    return RotationPolicy.objects.select_related("environment", "secret__environment").get(pk=policy.pk)


def sealed() -> bytes:
    return bytes(RotationPolicy.objects.values_list("credentials", flat=True).get().envelope)
