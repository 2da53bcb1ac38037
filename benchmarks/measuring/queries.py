"""The SQL of one request, as MariaDB's general log has it: whatever way Keeper takes, the server sees it."""

import re

from benchmarks.measuring.client import all_of
from benchmarks.measuring.scale import CLIENTS
from benchmarks.servers import DurableMariaDb

_WIDTH = 1_000
_WARM_UP = 100
_ON = "SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log; SET GLOBAL general_log = ON"
_OFF = "SET GLOBAL general_log = OFF"
_BYTES = re.compile(r"_binary '(?:[^'\\]|\\.)*'")
_LOGGED = (
    "SELECT REGEXP_REPLACE(argument, '[^ -~]+', ' ') FROM mysql.general_log "
    "WHERE command_type = 'Query' AND argument NOT LIKE '%general_log%' ORDER BY event_time"
)


def of_one(mariadb: DurableMariaDb, port: int, request: bytes) -> list[str]:
    """Return the statements of one request of a warm server, BEGIN and COMMIT among them."""
    all_of(port, [request] * _WARM_UP, clients=CLIENTS)
    mariadb.execute(_ON)
    try:
        all_of(port, [request], clients=1)
    finally:
        mariadb.execute(_OFF)
    lines = mariadb.execute(_LOGGED).splitlines()
    return [_BYTES.sub("x'…'", line)[:_WIDTH] for line in lines]
