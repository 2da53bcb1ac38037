"""Serves the floor as `keeper run` serves Keeper: `… -m benchmarks.floor.serve PORT PROCESSES THREADS`."""

import sys

from django.urls import get_resolver

from benchmarks.floor.wsgi import application
from keeper_project.runtime.server import serve_pages

if __name__ == "__main__":
    # Otherwise the first request of each process would load the views.
    _ = get_resolver().url_patterns
    port, processes, threads = map(int, sys.argv[1:])
    serve_pages(application, host="127.0.0.1", port=port, workers=processes, threads=threads)
