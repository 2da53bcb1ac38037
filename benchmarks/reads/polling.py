"""What it costs to ask whether something changed, beside a read."""

from functools import partial
from http.client import HTTPConnection
from itertools import repeat

from benchmarks.measuring.client import Endpoint, random_for_seconds
from benchmarks.measuring.scale import BY_NAME, CLIENTS, Scale
from benchmarks.measuring.stage import Stage
from benchmarks.measuring.table import Comparison, Row
from benchmarks.measuring.turns import Competitor, in_turns

_SEED = 20_261_128
MANIFEST = "/api/environments/development/manifest"


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure polls beside reads."""
    return [row for database in stage.databases for row in _rows(stage, scale, database)]


def _rows(stage: Stage, scale: Scale, database: str) -> list[Row]:
    size = min(scale.sizes)
    keeper = stage.keeper(database, size)
    client = keeper.client("development")
    value = keeper.read_paths(BY_NAME)[0]
    processes = partial(stage.processes_of, keeper, database)
    requests = {
        "a read of the value": client.random_reads(keeper.read_paths(BY_NAME), seed=_SEED),
        "value": repeat(conditional(client, value)),
        "manifest": repeat(conditional(client, MANIFEST)),
    }
    sends = {
        name: Competitor(partial(random_for_seconds, keeper.port, each), processes)
        for name, each in requests.items()
    }
    turns = in_turns(sends, scale, clients=CLIENTS)
    read, *polls = turns
    return [
        Comparison(
            work=f"poll of the {poll} that answers 304, {size:,} secrets, µs of CPU",
            database=database,
            unit="µs",
            keeper=[turn.cpu_us for turn in turns[poll]],
            other=read,
            other_figures=[turn.cpu_us for turn in turns[read]],
        )
        for poll in polls
    ]


def conditional(client: Endpoint, path: str) -> bytes:
    """Return the poll of a path whose state is known."""
    connection = HTTPConnection("127.0.0.1", client.port)
    connection.request("GET", path, headers=dict(client.headers))
    headers = {**client.headers, "If-None-Match": connection.getresponse().headers["ETag"]}
    connection.close()
    return Endpoint(client.port, headers).request("GET", path)
