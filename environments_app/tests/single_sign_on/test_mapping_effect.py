"""Whom a mapping of a group, or its end, would change: concluded from the access that mappings gave."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from environments_app.authorization.principals import system_principal
from environments_app.errors import Forbidden
from environments_app.models import SamlGroupMapping
from environments_app.single_sign_on.group_mapping import (
    Change,
    apply_groups,
    changed_by_mapping,
    changed_by_removal,
    map_group,
)
from environments_app.tests.cast import Cast


@pytest.fixture
def mapping(cast: Cast) -> SamlGroupMapping:
    """Map two groups; charlie signed in with both, bob with the first alone."""
    root = cast.principal(cast.root)
    first = map_group(actor=root, group="first", environment=cast.production, role="viewer")
    map_group(actor=root, group="second", environment=cast.development, role="viewer", prefix="a")
    for user, groups in ((cast.charlie, ["first", "second"]), (cast.bob, ["first"])):
        apply_groups(actor=system_principal(is_admin=True), user=user, groups=groups)
    return first


def test_a_new_mapping_changes_who_is_known_to_be_in_the_group(cast: Cast, mapping: SamlGroupMapping) -> None:
    root = cast.principal(cast.root)
    wider = changed_by_mapping(actor=root, group="second", environment=cast.production, role="editor")
    assert wider == [Change(username="charlie", before="viewer", after="editor")]
    new = changed_by_mapping(actor=root, group="first", environment=None, role="auditor")
    assert [(each.username, each.before) for each in new] == [("bob", ""), ("charlie", "")]
    assert changed_by_mapping(actor=root, group="second", environment=cast.production, role="viewer") == []


def test_the_end_of_a_mapping_changes_who_has_access_by_it(cast: Cast, mapping: SamlGroupMapping) -> None:
    root = cast.principal(cast.root)
    found = changed_by_removal(actor=root, mapping=mapping)
    assert [(each.username, each.before, each.after) for each in found] == [
        ("bob", "viewer", ""),
        ("charlie", "viewer", ""),
    ]
    map_group(actor=root, group="third", environment=cast.production, role="viewer")
    assert {each.by_others for each in changed_by_removal(actor=root, mapping=mapping)} == {("third",)}


def test_only_administrators_ask(cast: Cast, mapping: SamlGroupMapping) -> None:
    with pytest.raises(Forbidden):
        changed_by_removal(actor=cast.principal(cast.alice), mapping=mapping)
    with pytest.raises(Forbidden):
        changed_by_mapping(actor=cast.principal(cast.alice), group="g", environment=None, role="admin")


def test_the_admin_shows_them(
    cast: Cast, mapping: SamlGroupMapping, signed_in: Callable[..., Client]
) -> None:
    root, name = signed_in(cast.root), "admin:environments_app_samlgroupmapping"
    form = {"group": "second", "environment": cast.production.pk, "role": "editor"}
    page = root.post(reverse(f"{name}_act", args=["preview"]), form).content.decode()
    assert "charlie: viewer now, editor after the next sign-in." in page
    page = root.post(reverse(f"{name}_object_act", args=[mapping.pk, "removal"])).content.decode()
    assert "bob: viewer now, no access after the next sign-in." in page
