from collections.abc import Callable
from typing import Any

import pytest

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authorization.principals import system_principal
from environments_app.authorization.rows import access_rows
from environments_app.environments.memberships import change_membership
from environments_app.errors import Conflict, Forbidden, InvalidField
from environments_app.models import Membership, SamlGroupMapping
from environments_app.single_sign_on import group_mapping
from environments_app.single_sign_on.group_mapping import apply_groups, map_group, unmap_group
from environments_app.tests.cast import Cast

pytestmark = pytest.mark.every_database_weekly

Events = Callable[..., list[AuditEvent]]


def test_only_administrators_map(cast: Cast) -> None:
    with pytest.raises(Forbidden):
        map_group(actor=cast.principal(cast.alice), group="g", environment=cast.development, role="viewer")
    mapping = map_group(
        actor=cast.principal(cast.root), group="g", environment=cast.development, role="viewer"
    )
    with pytest.raises(Forbidden):
        unmap_group(actor=cast.principal(cast.alice), mapping=mapping)


@pytest.mark.parametrize(
    "wrong",
    [
        {"environment": None, "role": "viewer"},
        {"role": "admin"},
        {"role": "owner"},
        {"group": ""},
        {"group": " g"},
        {"group": "g\n"},
        {"prefix": "a//b"},
        {"environment": None, "role": "admin", "prefix": "a"},
    ],
)
def test_it_refuses_what_makes_no_sense(cast: Cast, wrong: dict[str, Any]) -> None:
    given: dict[str, Any] = {"group": "g", "environment": cast.development, "role": "viewer"} | wrong
    with pytest.raises(InvalidField):
        map_group(actor=cast.principal(cast.root), **given)
    assert not SamlGroupMapping.objects.exists()


def test_a_group_grants_once_in_a_place(cast: Cast) -> None:
    root = cast.principal(cast.root)
    map_group(actor=root, group="g", environment=cast.development, role="viewer")
    map_group(actor=root, group="G", environment=cast.development, role="viewer")
    with pytest.raises(Conflict):
        map_group(actor=root, group="g", environment=cast.development, role="reader")


def test_mapping_to_values_breaks_the_glass(cast: Cast, events: Events) -> None:
    root = cast.principal(cast.root)
    map_group(actor=root, group="g", environment=cast.development, role="viewer")
    assert not events(Action.BREAK_GLASS)
    map_group(actor=root, group="h", environment=cast.development, role="reader")
    assert len(events(Action.BREAK_GLASS)) == 1


def test_the_trail_knows_mappings_and_what_they_granted(cast: Cast, events: Events) -> None:
    root, system = cast.principal(cast.root), system_principal(is_admin=True)
    mapping = map_group(actor=root, group="g", environment=cast.development, role="reader")
    apply_groups(actor=system, user=cast.charlie, groups={"g"})
    unmap_group(actor=root, mapping=mapping)
    apply_groups(actor=system, user=cast.charlie, groups={"g"})
    assert len(events(Action.SAML_MAPPING_CHANGE)) == 2
    assert '"source":"saml"' in events(Action.MEMBER_GRANT)[-1].details
    assert not Membership.objects.filter(user=cast.charlie).exists()


def test_a_replayed_mapping_is_found(cast: Cast) -> None:
    root = cast.principal(cast.root)
    mapping = map_group(actor=root, group="g", environment=cast.development, role="reader")
    kept = SamlGroupMapping.objects.get(pk=mapping.pk)
    assert not [problem for problem in access_rows() if "saml" in problem.object]
    unmap_group(actor=root, mapping=mapping)
    SamlGroupMapping.objects.bulk_create([kept])
    assert [problem.kind for problem in access_rows() if "saml" in problem.object] == ["replayed"]


def test_such_a_grant_is_changed_at_its_source(cast: Cast) -> None:
    root = cast.principal(cast.root)
    map_group(actor=root, group="g", environment=cast.development, role="reader")
    apply_groups(actor=system_principal(is_admin=True), user=cast.charlie, groups={"g"})
    row = Membership.objects.get(user=cast.charlie)
    with pytest.raises(Conflict, match="single sign-on"):
        change_membership(actor=cast.principal(cast.alice), membership=row, role="manager")


def test_what_stays_is_not_written_again(cast: Cast, events: Events) -> None:
    root, system = cast.principal(cast.root), system_principal(is_admin=True)
    map_group(actor=root, group="g", environment=cast.development, role="reader")
    for _ in range(3):
        apply_groups(actor=system, user=cast.charlie, groups={"g"})
    assert len(events(Action.MEMBER_GRANT)) == 1


def test_a_forged_place_is_granted_to_nobody_and_a_forged_grant_is_replaced(
    cast: Cast, sql: Callable[..., None]
) -> None:
    root, system = cast.principal(cast.root), system_principal(is_admin=True)
    for place in (cast.development, cast.production):
        map_group(actor=root, group="g", environment=place, role="viewer")
    sql("UPDATE environments_app_environment SET protected = 1 WHERE id = %s", cast.production.pk)
    apply_groups(actor=system, user=cast.charlie, groups={"g"})
    row = Membership.objects.get(user=cast.charlie)
    assert row.environment == cast.development
    sql("UPDATE environments_app_membership SET row_mac = %s WHERE id = %s", bytes(32), row.pk)
    apply_groups(actor=system, user=cast.charlie, groups={"g"})
    assert Membership.objects.get(user=cast.charlie).is_authentic()


def test_so_many_groups_are_mapped_and_no_more(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_mapping, "_MAX_MAPPINGS", 2)
    root = cast.principal(cast.root)
    for group in ("one", "two"):
        map_group(actor=root, group=group, environment=cast.development, role="viewer")
    with pytest.raises(Conflict, match="2 mappings already"):
        map_group(actor=root, group="three", environment=cast.development, role="viewer")
    assert SamlGroupMapping.objects.count() == 2


def test_a_group_grants_where_it_is_mapped_and_under_each_path(cast: Cast) -> None:
    root = cast.principal(cast.root)
    for place, prefix in ((cast.development, ""), (cast.development, "part"), (cast.production, "")):
        map_group(actor=root, group="g", environment=place, role="viewer", prefix=prefix)
    with pytest.raises(Conflict, match="already mapped"):
        map_group(actor=root, group="g", environment=cast.development, role="reader", prefix="part")
    assert SamlGroupMapping.objects.count() == 3
