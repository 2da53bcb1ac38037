"""How much a run measures: enough for ratios in the usual run, next to nothing in a quick one."""

from dataclasses import dataclass

CLIENTS = 8
OPENBAO = "openbao"
OPENBAO_ROOT = "openbao-root"
FLOOR = "floor"
PEERS = (OPENBAO, OPENBAO_ROOT, FLOOR)
BY_ID = "id"
BY_NAME = "name"


@dataclass(frozen=True)
class Scale:
    """The size of a run, and what one benchmark asks of it.

    `seconds` is the time of one competitor in one round. `sizes` are the numbers of secrets over which
    single values are read and written.
    """

    rounds: int
    seconds: float
    verified: int
    sizes: tuple[int, ...]
    peers: tuple[str, ...] = PEERS
    clients: tuple[int, ...] = (1, CLIENTS)
    ways: tuple[str, ...] = (BY_ID, BY_NAME)


USUAL = Scale(rounds=5, seconds=1.0, verified=100_000, sizes=(10_000, 100_000))
QUICK = Scale(rounds=2, seconds=0.3, verified=5_000, sizes=(1_000, 2_000))
