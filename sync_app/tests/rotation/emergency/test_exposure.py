"""Emergency: everything that somebody has read is rotated, graces are cut, and nobody is forgotten."""

import json
from io import StringIO

import pytest
from django.core.management import call_command

from environments_app.tests.cast import Cast
from secrets_app.services import read
from secrets_app.tests.kept import keep
from sync_app.domain.rotation_state import Step
from sync_app.models import Rotation
from sync_app.rotation.execution.consumers import acknowledge
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.tests.rotation.making import asked, made_policy, made_secret, stages, stored, worked
from sync_app.tests.rotators.worlds import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


def test_what_was_read_is_rotated_at_once_and_both_logins_get_a_new_value(
    cast: Cast, mariadb: MariaDbWorld, generated: World
) -> None:
    secret = made_secret(cast, mariadb)
    policy = made_policy(cast, mariadb, secret=secret)
    made_policy(cast, generated, secret=made_secret(cast, generated, name="unread"))
    by_hand = keep(cast, "by/hand", environment=cast.development)
    bob = cast.principal(cast.bob)
    acknowledge(actor=cast.principal(cast.erin), secret=secret, number=1)
    # Both logins are valid and were read: one by itself, one among many.
    read.reveal(actor=bob, secret=stored(secret))
    first = worked(asked(cast, policy))
    read.reveal_environment(actor=bob, environment=cast.development, prefix="app")
    read.reveal(actor=bob, secret=by_hand)
    known = [mariadb.current, stages(cast, secret)["current"] or ""]
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("rotate", "--read-by=bob", "--emergency", "--format=json", stdout=out)
    told = json.loads(out.getvalue())
    assert ended.value.code == 1
    assert told["by_hand"] == ["development/by/hand"]
    (rotated,) = told["rotated"]
    assert (rotated["secret"], rotated["step"]) == ("development/app/db", "done")
    assert rotated["unconfirmed"] == ["erin"]
    assert Rotation.objects.get(pk=first.pk).step == Step.DONE
    assert [mariadb.works(value) for value in known] == [False, False]
    assert mariadb.works(stages(cast, secret)["current"] or "")
