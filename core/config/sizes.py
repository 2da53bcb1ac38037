"""What each process holds: threads and page caches. Memory after load follows from these numbers."""

from typing import Final

# Web server: threads that run the application. While one commits, the others get their reads ready, and the
# next commit is of all of them together. Measured on two cores: four serve a quarter more reads than two, on
# SQLite as well. More gain little, and each keeps a connection.
WEB_THREADS: Final = 4
# Web server: threads that hold a request each. They have neither a connection nor a stack that is used.
# `runtime.request_threads` and the read engine (`MAX_WAITING`) limit what holds them, so that some are free.
SERVER_THREADS: Final = 448
# Web server: connections that each of its processes takes at a time. An idle one takes 5 KB.
CONNECTIONS: Final = 4096
# Web server: descriptors beside them, of databases, pipes and files.
OTHER_DESCRIPTORS: Final = 256
# Web server: threads that hand over long answers.
STREAM_THREADS: Final = 2
# Worker: half of them for long work (`core.workers`). A thread is made when needed.
WORKER_THREADS: Final = 10
# Each connection to SQLite, in KB: what looks like a leak under load is the audit log that fills it. Other
# pages are in the kernel's memory, where a read finds them as fast.
SQLITE_CACHE_KB: Final = 8000
