"""UUIDs that are drawn many at once are such as `uuid4` gives one by one."""

import os
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_app.models.uuid_model import dashed, random_uuids

COUNT = 300


def test_they_are_random_uuids_of_version_4() -> None:
    drawn = random_uuids(COUNT)
    made = [UUID(digits) for digits in drawn]
    assert len(set(made)) == COUNT
    assert {(each.version, each.variant) for each in made} == {(4, RFC_4122)}
    assert [each.hex for each in made] == drawn


def test_all_their_other_bits_are_those_that_were_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = bytes(range(256)) * 3
    monkeypatch.setattr(os, "urandom", lambda size: drawn[:size])
    made = [UUID(bytes=drawn[start : start + 16], version=4).hex for start in range(0, len(drawn), 16)]
    assert random_uuids(len(made)) == made


def test_none_are_none() -> None:
    assert random_uuids(0) == []


@given(st.uuids())
def test_dashed_is_how_a_uuid_is_written(uuid: UUID) -> None:
    assert dashed(uuid.hex) == str(uuid)
