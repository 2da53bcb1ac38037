"""The lists of the Django admin over many rows: SQL statements and CPU time of the first page and the last.

Measured as `long_pages` does, in Keeper's own process.
"""

import statistics

from benchmarks.lists.long_list import insert_names
from benchmarks.lists.long_pages import ENVIRONMENT, cost_of, insert_events, signed_in
from benchmarks.measuring.scale import Scale
from benchmarks.measuring.stage import Stage
from benchmarks.measuring.table import Figure, Row

SECRETS, EVENTS = "/admin/secrets_app/secret/", "/admin/audit_app/auditevent/"
PAGES = (
    "/admin/",
    "/admin/audit/",
    "/admin/system/",
    "/admin/secrets_app/secret/?q=team-05",
    "/admin/audit_app/auditevent/?period=24h",
    "/admin/audit_app/auditevent/?q=program-3",
)
# Events for each secret.
_EVENTS_EACH = 10
# A list shows so many rows at most, and so many a page.
_LISTED, _A_PAGE = 10_000, 50


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure the pages on each database."""
    rows: list[Row] = []
    for database in stage.databases:
        secrets, events = scale.listed, scale.listed * _EVENTS_EACH
        found = stage.keeper(database).inside("admin_pages", str(secrets), str(events))
        for page, figures in found.items():
            first, last = figures["statements"]
            work = f"{page}, {secrets:,} secrets, {events:,} events"
            rows.append(Figure(f"SQL statements of {work}", database, first))
            rows.append(Figure("the same on its last page", database, last, maximum=first))
            rows.append(Figure("ms of CPU, first page", database, statistics.median(figures["first"])))
            rows.append(Figure("ms of CPU, last page", database, statistics.median(figures["deep"])))
    return rows


def measure(secrets: int, events: int) -> dict[str, dict[str, list[float]]]:
    """Fill the database and return what each page costs; a page that is no list is its own last one."""
    insert_names(ENVIRONMENT, secrets)
    insert_events(events)
    client = signed_in()
    lists = {
        page: cost_of(client, page, f"{page}?p={min(rows, _LISTED) // _A_PAGE}")
        for page, rows in ((SECRETS, secrets), (EVENTS, events))
    }
    return lists | {page: cost_of(client, page, page) for page in PAGES}
