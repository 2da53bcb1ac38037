"""Processes: the command line, web server, worker, supervisor."""
