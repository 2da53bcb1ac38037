import pytest
from django.db import IntegrityError, transaction

from environments_app.models import Environment, Membership, Role, User
from environments_app.tests.cast import Cast

pytestmark = [pytest.mark.every_database, pytest.mark.django_db]


@pytest.mark.parametrize("other", ["Admin", "ádmin", "admin ", "ａdmin"])
def test_names_differ_byte_for_byte(other: str) -> None:
    Environment.objects.create(name="admin")
    Environment.objects.create(name=other)
    assert [row.name for row in Environment.objects.filter(name=other)] == [other]
    assert [row.name for row in Environment.objects.filter(name="admin")] == ["admin"]


def test_equal_names_are_refused_by_the_database() -> None:
    User.objects.create_user("admin")
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create_user("admin")


def test_names_sort_by_bytes() -> None:
    for name in ("b", "B", "a/x", "a0", "a-"):
        Environment.objects.create(name=name)
    names = list(Environment.objects.order_by("name").values_list("name", flat=True))
    assert names == sorted(names, key=str.encode)


def test_local_users_share_no_saml_subject(cast: Cast) -> None:
    # NULLs are distinct in a unique pair on every database.
    assert User.objects.filter(saml_issuer__isnull=True).count() == 6


def test_a_membership_is_of_a_user_or_a_group(cast: Cast) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(environment=cast.production, role=Role.VIEWER)
