"""Agents that ask every five seconds whether something changed: what a poll costs, and what it records."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection
from itertools import repeat

from benchmarks.measuring.client import Endpoint, random_for_seconds
from benchmarks.measuring.scale import BY_NAME, CLIENTS, Scale
from benchmarks.measuring.stage import Stage
from benchmarks.measuring.table import Comparison, Figure, Row
from benchmarks.measuring.turns import Competitor, in_turns
from benchmarks.servers import Keeper

AGENTS = 200
INTERVAL_SECONDS = 5.0
# How long they poll, for each second of a competitor: a minute as usual, ten with `--seconds 50`.
_POLLING = 12
_THREADS = 20
_SEED = 20_261_128
MANIFEST = "/api/environments/development/manifest"


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure polls beside reads, and let the agents poll at their pace."""
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
        *(
            Comparison(
                work=f"poll of the {poll} that answers 304, {size:,} secrets, µs of CPU",
                database=database,
                unit="µs",
                keeper=[turn.cpu_us for turn in turns[poll]],
                other=read,
                other_figures=[turn.cpu_us for turn in turns[read]],
            )
            for poll in polls
        ),
        *_paced(keeper, database, seconds=scale.seconds * scale.rounds * _POLLING),
    ]


def _paced(keeper: Keeper, database: str, *, seconds: float) -> list[Row]:
    """Let all agents sign in, read once, and poll; return what they were answered and what was recorded."""
    before = keeper.inside("events")["events"]
    with ThreadPoolExecutor(_THREADS) as pool:
        work = partial(_agents, keeper.client("development"), keeper.read_paths(BY_NAME)[0], seconds)
        answers = sum(pool.map(work, range(_THREADS)), Counter[int]())
    recorded = keeper.inside("events")["events"] - before
    what = f"{AGENTS} agents that poll every {INTERVAL_SECONDS:.0f} s for {seconds:.0f} s"
    return [
        Figure(f"{what}: polls", database, sum(answers.values())),
        Figure(f"{what}: answers other than 304", database, sum(answers.values()) - answers[304], maximum=0),
        # Each agent reads once, when it starts.
        Figure(f"{what}: events besides the first reads", database, recorded - AGENTS, maximum=0),
    ]


def _agents(client: Endpoint, value: str, seconds: float, first: int) -> Counter[int]:
    """Play some of the agents, each with a connection of its own; return the statuses of their polls."""
    agents = [HTTPConnection("127.0.0.1", client.port) for _ in range(AGENTS // _THREADS)]
    tags = [_etag(agent, client, value) for agent in agents]
    found: Counter[int] = Counter()
    began = time.monotonic()
    ends = began + seconds
    turn = 0
    while (due := began + INTERVAL_SECONDS * (turn + first / _THREADS)) < ends:
        time.sleep(max(0.0, due - time.monotonic()))
        for agent, tag in zip(agents, tags, strict=True):
            agent.request("GET", value, headers={**client.headers, "If-None-Match": tag})
            answer = agent.getresponse()
            answer.read()
            found[answer.status] += 1
        turn += 1
    for agent in agents:
        agent.close()
    return found


def conditional(client: Endpoint, path: str) -> bytes:
    """Return the poll of a path whose state is known."""
    tag = _etag(HTTPConnection("127.0.0.1", client.port), client, path)
    return Endpoint(client.port, {**client.headers, "If-None-Match": tag}).request("GET", path)


def _etag(connection: HTTPConnection, client: Endpoint, path: str) -> str:
    connection.request("GET", path, headers=dict(client.headers))
    answer = connection.getresponse()
    answer.read()
    return answer.headers["ETag"]
