"""Keys that AWS refused to make, and served ones that are refused: nobody else's is touched."""

import json
from datetime import timedelta
from typing import Any

import pytest

from environments_app.tests.cast import Cast
from sync_app.domain.rotation_state import OperatorAction, Step, allowed_actions
from sync_app.jobs.leases import database_now
from sync_app.rotation.execution import operator_actions
from sync_app.rotators.aws_iam.rotator import AwsIam
from sync_app.rotators.aws_iam.tests.world import IamWorld
from sync_app.tests.rotation.making import again, asked, grace_over, made_policy, made_secret, worked

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("act", ["retry", "abandon"])
def test_a_key_that_somebody_made_before_ours_was_refused_stays(
    cast: Cast, iam: IamWorld, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    rotation = asked(cast, made_policy(cast, iam, secret=made_secret(cast, iam)))
    deletes = AwsIam._delete_lost
    theirs: list[str] = []

    def then_another_makes_one(self: AwsIam, *arguments: Any) -> None:
        deletes(self, *arguments)
        if not theirs:
            theirs.append(iam.root.create_access_key(UserName=iam.user)["AccessKey"]["AccessKeyId"])

    monkeypatch.setattr(AwsIam, "_delete_lost", then_another_makes_one)
    worked(rotation)
    assert again(rotation).stopped_at is not None
    assert "delete the one that nobody uses" in again(rotation).problem
    getattr(operator_actions, act)(actor=cast.principal(cast.erin), rotation=again(rotation))
    worked(rotation)
    assert set(iam.key_ids()) == {json.loads(iam.current)["AccessKeyId"], *theirs}
    if act == "retry":
        assert theirs[0] in again(rotation).problem
    else:
        assert again(rotation).step == Step.ABANDONED


@pytest.mark.parametrize("is_known", [True, False])
def test_a_served_key_that_is_refused_after_its_grace_can_be_rolled_back_once_all_of_aws_knows_it(
    cast: Cast, iam: IamWorld, is_known: bool
) -> None:
    rotation = asked(cast, made_policy(cast, iam, secret=made_secret(cast, iam)))
    worked(rotation)
    (new,) = set(iam.key_ids()) - {json.loads(iam.current)["AccessKeyId"]}
    iam.root.delete_access_key(UserName=iam.user, AccessKeyId=new)
    over = grace_over(again(rotation))
    over.promoted_at = database_now() - (timedelta(hours=1) if is_known else timedelta())
    over.save()
    worked(over)
    refused = again(rotation)
    # Until then a place that does not know the key yet may have been asked: it is tried again.
    assert (refused.step, refused.stopped_at is not None) == (Step.RETIRE, is_known)
    assert OperatorAction.ROLL_BACK in allowed_actions(Step.RETIRE, stopped=True, reverted=refused.reverted)
    assert iam.works(iam.current)
