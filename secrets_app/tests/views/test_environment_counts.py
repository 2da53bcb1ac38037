"""The pages of environments count secrets: in the list, and under the path of a grant or token."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from environments_app.models import Membership, Role, User
from environments_app.tests.cast import Cast
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.django_db


def test_each_environment_counts_the_secrets_and_members_that_one_sees(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    for name in ("payments/db", "payments/api", "search/key"):
        keep(cast, name)
    place = cast.development
    member = Membership.objects.create(
        environment=place, user=cast.charlie, role=Role.READER, prefix="payments"
    )
    members = Membership.objects.filter(environment=place).count()

    def words(user: User) -> list[str]:
        page = signed_in(user).get("/environments").content.decode()
        return re.findall(r'aria-label="(\d+ (?:secret|member)s? of \w+)"', page)

    assert words(cast.charlie) == ["2 secrets of development"]
    seen = words(cast.alice)
    assert {"3 secrets of development", f"{members} members of development"} <= {*seen}
    assert "0 secrets of production" in seen
    Membership.objects.filter(pk=member.pk).update(expires_at=timezone.now() - timedelta(days=1))
    assert f"{members - 1} members of development" in words(cast.alice)


def test_a_path_without_secrets_is_told_when_it_is_granted(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    keep(cast, "payments/db")
    keep(cast, "payment")
    alice = signed_in(cast.alice)

    def grant(who: User, prefix: str) -> str:
        form = {"username": who.username, "role": Role.READER, "prefix": prefix}
        return alice.post("/environments/development/members", form, follow=True).content.decode()

    def issue(name: str, prefix: str) -> str:
        form = {"name": name, "role": Role.READER, "prefix": prefix}
        return alice.post("/environments/development/tokens", form).content.decode()

    told = "No secret of development is under {}/ yet. Check the path."
    assert told.format("paymnts") in grant(cast.charlie, "paymnts")
    assert told.format("search") in issue("mistyped", "search")
    for page in (grant(cast.vera, "payments/db"), issue("right", "payments"), issue("all", "")):
        assert "Check the path." not in page
