"""No two policies rotate one login: each would end what the other one serves."""

import pytest

from audit_app.tests.trail import take_away
from environments_app.tests.cast import Cast
from secrets_app.services import transfer
from sync_app.errors import RotationConflict, RotationInProgress
from sync_app.models import RotationPolicy
from sync_app.rotation.policies import service as policies
from sync_app.rotators.base import Login
from sync_app.rotators.generated.tests.world import GeneratedWorld
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.tests.rotation.making import asked, grace_over, made_policy, made_secret, stored, worked
from sync_app.tests.rotators.worlds import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


def test_a_second_policy_on_the_same_login_is_refused(cast: Cast, logins: World) -> None:
    secret = made_secret(cast, logins)
    policy = made_policy(cast, logins, secret=secret)
    copied = transfer.copy(
        actor=cast.principal(cast.alice), secret=secret, environment=cast.production, name="copy"
    )
    with pytest.raises(RotationConflict, match="policy of development/app/db rotates one of these logins"):
        made_policy(cast, logins, secret=copied)
    # Once the first one is removed nobody else ends what is served.
    rotation = worked(asked(cast, policy))
    worked(grace_over(rotation))
    policies.remove(actor=cast.principal(cast.alice), policy=policy)
    fresh = transfer.copy(
        actor=cast.principal(cast.alice), secret=stored(secret), environment=cast.production, name="fresh"
    )
    assert made_policy(cast, logins, secret=fresh).live


def test_it_is_not_named_to_who_may_not_see_it(cast: Cast, logins: World) -> None:
    secret = made_secret(cast, logins)
    copied = transfer.copy(
        actor=cast.principal(cast.alice), secret=secret, environment=cast.production, name="copy"
    )
    made_policy(cast, logins, secret=copied)
    take_away(cast.production.memberships.all())
    with pytest.raises(RotationConflict, match=r"^another policy rotates"):
        made_policy(cast, logins, secret=secret)


def test_a_connection_is_not_moved_onto_anothers_login(cast: Cast, mariadb: MariaDbWorld) -> None:
    secret = made_secret(cast, mariadb)
    copied = transfer.copy(
        actor=cast.principal(cast.alice), secret=secret, environment=cast.development, name="copy"
    )
    made_policy(cast, mariadb, secret=secret)
    # The same server by another name, which nobody can tell.
    elsewhere = {**mariadb.settings(), "host": "localhost", "tls": "verify-ca"}
    other = made_policy(cast, mariadb, secret=copied, settings=elsewhere)
    with pytest.raises(RotationConflict, match="rotates one of these logins"):
        policies.change_connection(
            actor=cast.principal(cast.alice),
            policy=other,
            credentials=mariadb.admin(),
            settings=mariadb.settings(),
        )


def test_values_without_a_login_share_none(cast: Cast, generated: GeneratedWorld) -> None:
    for name in ("one", "two"):
        made_policy(cast, generated, secret=made_secret(cast, generated, name=name))
    assert RotationPolicy.objects.filter(live=True).count() == 2


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Login("app"), True),
        (Login("app", "10.%"), True),
        (Login("app", "10.0.%"), False),
        (Login("App", "10.%"), False),
    ],
)
def test_an_account_without_a_place_is_every_one_of_its_name(other: Login, *, same: bool) -> None:
    assert (Login("app", "10.%").conflicts_with(other), other.conflicts_with(Login("app", "10.%"))) == (
        same,
        same,
    )


def test_a_connection_is_not_moved_back_under_a_rotation_by_who_looked_before_it_moved(
    cast: Cast, mariadb: MariaDbWorld
) -> None:
    alice, credentials = cast.principal(cast.alice), mariadb.admin()
    looked = made_policy(cast, mariadb)
    moved = policies.change_connection(
        actor=alice,
        policy=RotationPolicy.objects.get(pk=looked.pk),
        credentials=credentials,
        settings={"host": "localhost", "tls": "verify-ca"},
    )
    asked(cast, moved)
    with pytest.raises(RotationInProgress):
        policies.change_connection(actor=alice, policy=looked, credentials=credentials)
    assert RotationPolicy.objects.get().endpoint == moved.endpoint
