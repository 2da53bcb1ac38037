"""IAM as AWS documents it: two keys, lost replies, keys of somebody else, and changes that take a while."""

import json

import pytest

from sync_app.errors import (
    CredentialsRejected,
    LoginMissing,
    OutcomeAmbiguous,
    PermissionMissing,
    QuotaExceeded,
    StillAccepted,
    TargetUnreachable,
    ValueUnusable,
)
from sync_app.rotators.aws_iam.tests.world import IamWorld
from sync_app.rotators.base import LoginAnswer
from sync_app.tests.rotators.worlds import fence
from tests.aws_strict.faults import Fault


def key_of(value: str) -> str:
    return str(json.loads(value)["AccessKeyId"])


def test_a_key_whose_secret_was_lost_is_deleted_and_another_made(iam: IamWorld) -> None:
    rotator = iam.rotator()
    pending = rotator.prepare(iam.current)
    iam.plan.fail("CreateAccessKey", Fault.DROPPED_REPLY)
    with pytest.raises(TargetUnreachable):
        rotator.set(pending, current=iam.current, fence=fence())
    assert iam.plan.calls["CreateAccessKey"] == 1
    (lost,) = set(iam.key_ids()) - {key_of(iam.current)}
    new = rotator.set(pending, current=iam.current, fence=fence())
    assert set(iam.key_ids()) == {key_of(iam.current), key_of(new)}
    assert lost != key_of(new)
    assert iam.works(new)


@pytest.mark.parametrize("act", ["set", "revoke_unserved"])
def test_a_new_key_that_somebody_uses_stops_for_an_operator(iam: IamWorld, act: str) -> None:
    rotator = iam.rotator()
    pending = rotator.prepare(iam.current)
    theirs = json.dumps(iam.root.create_access_key(UserName=iam.user)["AccessKey"], default=str)
    assert iam.works(theirs)
    with pytest.raises(OutcomeAmbiguous, match=key_of(theirs)):
        getattr(rotator, act)(pending, current=iam.current, fence=fence())
    assert iam.works(theirs)
    assert iam.works(iam.current)


def test_a_new_key_that_is_used_just_before_it_is_deactivated_stays(
    iam: IamWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotator = iam.rotator()
    pending = rotator.prepare(iam.current)
    theirs = json.dumps(iam.root.create_access_key(UserName=iam.user)["AccessKey"], default=str)
    deactivate = rotator._deactivate  # type: ignore[attr-defined]  # of this rotator alone

    def used_before(key: str) -> None:
        assert iam.works(theirs)
        deactivate(key)

    monkeypatch.setattr(rotator, "_deactivate", used_before)
    with pytest.raises(OutcomeAmbiguous, match="just before"):
        rotator.revoke_unserved(pending, current=iam.current, fence=fence())
    assert key_of(theirs) in iam.key_ids()


def test_two_keys_at_the_start_stop_for_an_operator(iam: IamWorld) -> None:
    other = iam.root.create_access_key(UserName=iam.user)["AccessKey"]["AccessKeyId"]
    for use in (iam.rotator().check_setup, iam.rotator().prepare):
        with pytest.raises(QuotaExceeded, match=other):
            use(iam.current)
    assert set(iam.key_ids()) == {key_of(iam.current), other}


def test_a_key_is_deactivated_and_proven_dead_before_it_is_deleted(iam: IamWorld) -> None:
    rotator = iam.rotator()
    new = rotator.set(rotator.prepare(iam.current), current=iam.current, fence=fence())
    iam.plan.fail("GetCallerIdentity", Fault.HANG)
    iam.plan.release.set()
    with pytest.raises(StillAccepted):
        rotator.retire(iam.current, current=new, fence=fence())
    assert key_of(iam.current) in iam.key_ids()
    assert iam.plan.calls["DeleteAccessKey"] == 0
    rotator.retire(iam.current, current=new, fence=fence())
    assert iam.key_ids() == [key_of(new)]


def test_a_new_key_that_is_not_known_everywhere_is_refused_for_a_while(iam: IamWorld) -> None:
    iam.plan.keys.propagation = 2
    rotator = iam.rotator()
    new = rotator.set(rotator.prepare(iam.current), current=iam.current, fence=fence())
    answers = [rotator.probe(new).answer for _ in range(3)]
    assert answers == [LoginAnswer.REFUSED, LoginAnswer.REFUSED, LoginAnswer.ACCEPTED]
    assert rotator.propagation_seconds > 0


def test_it_names_the_permission_that_is_missing(iam: IamWorld) -> None:
    administrator = iam.root.get_access_key_last_used(AccessKeyId=iam.administrator["AccessKeyId"])[
        "UserName"
    ]
    allowed = ["iam:ListAccessKeys", "iam:UpdateAccessKey", "iam:GetAccessKeyLastUsed"]
    statement = {"Effect": "Allow", "Action": allowed, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.root.put_user_policy(UserName=administrator, PolicyName="rotation", PolicyDocument=policy)
    with pytest.raises(PermissionMissing, match="iam:DeleteAccessKey"):
        iam.rotator().check_setup(iam.current)
    with pytest.raises(PermissionMissing, match="iam:CreateAccessKey"):
        iam.rotator().set(iam.rotator().prepare(iam.current), current=iam.current, fence=fence())


def test_an_administrator_that_is_revoked_is_named(iam: IamWorld) -> None:
    with pytest.raises(CredentialsRejected):
        iam.rotator(secret_access_key="wrong").check_setup(iam.current)


def test_the_current_key_is_one_of_the_user(iam: IamWorld) -> None:
    foreign = json.dumps({**json.loads(iam.current), "AccessKeyId": "AKIAFOREIGN"})
    with pytest.raises(LoginMissing, match="AKIAFOREIGN"):
        iam.rotator().prepare(foreign)
    with pytest.raises(ValueUnusable):
        iam.rotator().check_setup(json.dumps({**json.loads(iam.current), "UserName": "somebody"}))


def test_a_key_of_another_user_is_no_value_of_the_policy(iam: IamWorld) -> None:
    administrator = iam.administrator
    foreign = {name: administrator[name] for name in ("AccessKeyId", "SecretAccessKey")}
    with pytest.raises(ValueUnusable, match=f"not one of {iam.user}"):
        iam.rotator().probe(json.dumps({"UserName": iam.user, **foreign}))
    assert iam.rotator().probe(iam.current).answer is LoginAnswer.ACCEPTED


def test_what_else_a_value_holds_stays(iam: IamWorld) -> None:
    rotator = iam.rotator()
    new = json.loads(rotator.set(rotator.prepare(iam.current), current=iam.current, fence=fence()))
    assert new["comment"] == "kept"
    assert new["UserName"] == iam.user
