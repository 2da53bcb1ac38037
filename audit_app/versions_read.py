"""Which versions of a secret a read took along, whether it was a read of one or of many."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from audit_app.canonical import parsed_details
from audit_app.models import AuditEvent, ReadManifestItem


def versions_read(events: Sequence[AuditEvent], **item: object) -> Mapping[int, Sequence[int]]:
    """Return the numbers of the versions that each event read, by the id of the event, newest first.

    `item` names the secret as manifests do, by `secret_uuid` or `name`. One statement, and none where no
    event has a manifest.
    """
    manifests = {event.manifest_id for event in events if event.manifest_id is not None}
    found: dict[int, list[int]] = defaultdict(list)
    if manifests:
        items = ReadManifestItem.objects.filter(manifest_id__in=manifests, **item).order_by("-number")
        for manifest, number in items.values_list("manifest_id", "number"):
            found[manifest].append(number)
    return {
        event.pk: _of_one(event) if event.manifest_id is None else found.get(event.manifest_id, ())
        for event in events
    }


def _of_one(event: AuditEvent) -> Sequence[int]:
    number = parsed_details(event.details).get("number")
    return (number,) if isinstance(number, int) else ()
