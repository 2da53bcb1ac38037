"""Which secrets a target that selects by tags delivers: those whose tags prove that Keeper stored them.

A database writer could add a tag, and so have a value delivered, or remove one, and so have a copy deleted.
Neither follows from a tag whose MAC is not valid (see docs/adr/0032-selection-by-tags.md).
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final
from uuid import UUID

from audit_app.db.batches import in_batches
from secrets_app.models import Secret, has_valid_tags_mac
from sync_app.models import Target
from sync_app.state.local_state import LocalSecret, in_scope

SELECTED: Final = "selected by its tags"
LEFT_OUT: Final = "not selected by its tags"
UNPROVED: Final = "Keeper did not store its present tags: check them and save them on the secret's page"


class TagVerdict(StrEnum):
    """What the tags of a secret mean for a target."""

    SELECTED = "selected"
    LEFT_OUT = "left out"
    # No tag of the target's, and none that Keeper stored: what was never delivered is left out.
    UNTAGGED = "untagged"
    UNPROVED = "unproved"


def judge_tags(target: Target, secrets: Iterable[LocalSecret]) -> dict[UUID, TagVerdict]:
    """Return the verdict on each secret, by its uuid; nothing for a target without tags."""
    if not target.tags:
        return {}
    wanted, uuids = set(target.tags), [each.secret_uuid for each in secrets]
    found = dict.fromkeys(uuids, TagVerdict.UNPROVED)
    for some in in_batches(uuids):
        rows = Secret.objects.filter(uuid__in=some)
        for uuid, tags, mac in rows.values_list("uuid", "tags", "tags_mac"):
            found[uuid] = _judge(uuid, tags, mac, wanted)
    return found


def has_selected(target: Target) -> bool:
    """Return whether Keeper has any secret that the target delivers."""
    secrets = target.environment.secrets.filter(in_scope(str(target.scope)), live=True)
    if not target.tags:
        return secrets.exists()
    wanted = set(target.tags)
    rows = secrets.values_list("uuid", "tags", "tags_mac").iterator()
    return any(_judge(uuid, tags, mac, wanted) is TagVerdict.SELECTED for uuid, tags, mac in rows)


def is_selected(target: Target, secret: Secret) -> bool:
    """Return whether a target delivers a secret of its scope."""
    return is_tagged_for(target, secret.tags) and (not target.tags or secret.proves_tags())


def is_tagged_for(target: Target, tags: Iterable[str]) -> bool:
    """Return whether tags select a secret, as far as they are shown; whether they are proved is not asked."""
    return not target.tags or not set(target.tags).isdisjoint(tags)


def _judge(uuid: UUID, tags: Iterable[str], mac: bytes | memoryview, wanted: set[str]) -> TagVerdict:
    is_wanted = not wanted.isdisjoint(tags)
    if has_valid_tags_mac(uuid, tags, mac):
        return TagVerdict.SELECTED if is_wanted else TagVerdict.LEFT_OUT
    return TagVerdict.UNPROVED if is_wanted or mac else TagVerdict.UNTAGGED
