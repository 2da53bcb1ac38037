from uuid import UUID

from audit_app.crypto.hash_chain import (
    EventFields,
    Link,
    canonical_bytes,
    damage,
    event_hash,
    genesis,
    manifest_digest,
)

FIELDS = EventFields(
    uuid=UUID(int=1).hex,
    stream="environment:a",
    sequence=1,
    at="2026-11-24T16:36:00.000000+00:00",
    actor_kind="user",
    actor_uuid=UUID(int=2).hex,
    actor_name="zoë",
    action="secret.reveal",
    object_kind="secret",
    object_uuid=UUID(int=3).hex,
    object_name="app/db",
    outcome="allowed",
    address="192.0.2.1",
    request_id="r1",
    details='{"n":1}',
    manifest_digest=None,
)
KNOWN = (
    '{"action":"secret.reveal","actor_kind":"user","actor_name":"zoë",'
    '"actor_uuid":"00000000000000000000000000000002","address":"192.0.2.1",'
    '"at":"2026-11-24T16:36:00.000000+00:00","details":"{\\"n\\":1}","manifest":null,'
    '"object_kind":"secret","object_name":"app/db","object_uuid":"00000000000000000000000000000003",'
    '"outcome":"allowed","request_id":"r1","sequence":1,"stream":"environment:a",'
    '"uuid":"00000000000000000000000000000001"}'
)
START = genesis(UUID(int=9), "environment:a")


def link(fields: EventFields = FIELDS, previous: bytes = START) -> Link:
    return Link(fields, previous, event_hash(previous, canonical_bytes(fields)), b"mac")


def kind_of(found: Link, expected: int = 1, *, genuine: bool = True) -> str | None:
    what = damage(found, expected, START, lambda _hash, _mac: genuine)
    return what and what.kind


def test_the_canonical_form_is_frozen() -> None:
    assert canonical_bytes(FIELDS).decode() == KNOWN


def test_the_known_answers_are_frozen() -> None:
    assert START.hex() == "663f05c26089730693936653b0d8db39367c5a2d1cabc37e0cd7964dc77356f5"
    assert link().hash.hex() == "3a8f59ee42304ceda1f62f5dd1fd5681f5cd095495b7dc8dd6247b63a00b447e"
    assert manifest_digest([]) == "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"


def test_a_manifest_does_not_depend_on_the_order_of_the_read() -> None:
    read = [(str(UUID(int=1)), 1, "a"), (str(UUID(int=2)), 1, "b")]
    assert manifest_digest(read) == manifest_digest(reversed(read))
    assert manifest_digest(read) != manifest_digest(read[:1])


def test_every_field_changes_the_hash() -> None:
    for name in EventFields._fields:
        changed = EventFields(**(FIELDS._asdict() | {name: "x"}))
        assert link(changed).hash != link().hash, name


def test_streams_and_deployments_start_differently() -> None:
    starts = {genesis(UUID(int=n), name) for n in (1, 2) for name in ("a", "b")}
    assert len(starts) == 4


def test_it_tells_the_kinds_of_damage_apart() -> None:
    edited = Link(FIELDS._replace(actor_name="bob"), START, link().hash, b"mac")
    assert kind_of(link()) is None
    assert kind_of(link(), genuine=False) == "forged"
    assert kind_of(edited) == "edited"
    assert kind_of(link(previous=b"x" * 32)) == "forked"
    moved = link(FIELDS._replace(sequence=5), b"x" * 32)
    assert kind_of(moved._replace(fields=FIELDS)) == "reordered"
    assert kind_of(link()._replace(previous_hash=b"x" * 32)) == "edited"
    assert kind_of(link(FIELDS._replace(sequence=3)), 1) == "missing"
