"""Why PostgreSQL refused a connection, by the code that libpq has read and does not hand out.

Its message is in the server's language, so that a text says nothing for certain. The trace of
another attempt has the code; it is kept in memory and holds challenges and proofs, no password.
"""

import os
import re
import select
from typing import Final

from psycopg import pq

from audit_app.outbound_limits import Counted, current_limit

_CODE: Final = re.compile(rb'^B\t\d+\tErrorResponse\t S ".*?" V "[A-Z]+" C "([0-9A-Z]{5})"', re.MULTILINE)
_WAITS: Final = {pq.PollingStatus.READING: select.POLLIN, pq.PollingStatus.WRITING: select.POLLOUT}


def refusal_code(conninfo: str) -> str:
    """Return the SQLSTATE with which a server refuses a connection; empty if it gives none.

    Raises DeadlinePassed or AnswerTooLarge.
    """
    limit = current_limit()
    with os.fdopen(os.memfd_create("keeper-postgresql"), "rb") as trace:
        connection = pq.PGconn.connect_start(conninfo.encode())
        try:
            connection.trace(trace.fileno())
            connection.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
            while (wait := _WAITS.get(pq.PollingStatus(connection.connect_poll()))) is not None:
                poll = select.poll()
                poll.register(connection.socket, wait)
                poll.poll(limit.seconds_left() * 1000)
                Counted(connection.socket).refuse_large()
            connection.untrace()
        finally:
            connection.finish()
        trace.seek(0)
        found = _CODE.search(trace.read())
    return found[1].decode() if found else ""
