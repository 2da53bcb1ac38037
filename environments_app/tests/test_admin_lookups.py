"""What the admin never shows, its lists do not find by either."""

from collections.abc import Callable

import pytest
from django.contrib import admin
from django.test import Client

from audit_app.admin_pages.filters import names_hidden
from environments_app.models import Membership, User
from environments_app.tests.cast import Cast

SignedIn = Callable[[User], Client]
REFUSED = [
    "environments_app/user/?password__regex=.",
    "environments_app/user/?password=x",
    "environments_app/user/?row_mac=x",
    "environments_app/user/?row_mac__isnull=False",
    "environments_app/user/?memberships__row_mac__isnull=False",
    "environments_app/membership/?user__password__startswith=argon2",
    "environments_app/servicetoken/?secret_hash__regex=.",
    "environments_app/servicetoken/?pepper_id=local",
    "environments_app/approvalentry/?text__startswith=a",
    "secrets_app/secretversion/?fingerprint__startswith=a",
    "audit_app/auditevent/?mac__isnull=False",
    "audit_app/auditevent/?hash__startswith=a",
]


@pytest.mark.parametrize("path", REFUSED)
def test_it_does_not_filter_by_what_is_hidden(cast: Cast, signed_in: SignedIn, path: str) -> None:
    assert signed_in(cast.root).get(f"/admin/{path}").status_code == 400


@pytest.mark.parametrize(
    "path",
    ["environments_app/user/?role__exact=admin", "environments_app/membership/?environment__id__exact=1", "audit_app/auditevent/?outcome__exact=denied"],
)  # fmt: skip
def test_it_filters_by_what_is_shown(cast: Cast, signed_in: SignedIn, path: str) -> None:
    assert signed_in(cast.root).get(f"/admin/{path}").status_code == 200


@pytest.mark.parametrize(
    ("lookup", "hidden"),
    [("user__password", True), ("environment__row_mac", True), ("user__username", False), ("pk", False), ("role__regex", False)],
)  # fmt: skip
def test_a_hidden_column_is_found_through_relations(lookup: str, *, hidden: bool) -> None:
    assert names_hidden(admin.site.get_model_admin(Membership), lookup) is hidden
