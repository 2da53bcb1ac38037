"""Serves the floor as `keeper run` serves Keeper: `… -m benchmarks.floor.serve PORT PROCESSES THREADS`."""

import sys

from benchmarks.floor.wsgi import application
from keeper_project.runtime.server import serve_pages

if __name__ == "__main__":
    port, processes, threads = map(int, sys.argv[1:])
    serve_pages(application, host="127.0.0.1", port=port, workers=processes, threads=threads)
