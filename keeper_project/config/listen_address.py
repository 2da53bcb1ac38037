"""Where `keeper run` will listen, decided before Django loads: settings and metrics depend on it."""

import argparse
import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from django.conf import settings

from core.errors import KeeperError

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8989


class CannotListen(KeeperError):
    """The host has no address here, or something else listens on the port."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that are looked at before Django loads."""
    parser.add_argument("--host", default=DEFAULT_HOST, help=f"address to listen on ({DEFAULT_HOST})")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"port to listen on ({DEFAULT_PORT})")
    parser.add_argument("--debug", action="store_true", help="DEBUG=true; on this machine's address only")


def declare(arguments: Sequence[str]) -> int:
    """Pass the options of `keeper run` to the settings, by variables; return the port.

    Raises CannotListen, before anything is loaded or touched.
    """
    parser = argparse.ArgumentParser(prog="keeper run", add_help=False)
    add_arguments(parser)
    asked, _ = parser.parse_known_args(arguments)
    host = address(asked.host)
    refuse_taken(host, asked.port)
    os.environ["KEEPER_LISTEN"] = host
    if asked.debug:
        os.environ["DEBUG"] = "true"
    return int(asked.port)


def share_metrics(port: int) -> None:
    """Make the folder in which the processes of a port add up what they measure, and empty it.

    The Prometheus client looks for its variable when it is loaded, which Django's apps do.
    """
    folder = Path(settings.KEEPER_DATA_DIR) / "metrics" / str(port)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob("*.db"):
        left.unlink()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = settings.PROMETHEUS_MULTIPROC_DIR = str(folder)


def address(host: str) -> str:
    """Return the numeric address of a host. Raises CannotListen if it has none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise CannotListen(f"--host {host}: this name has no address here.") from error
    # The IPv4 one first: it is what `localhost` means to most.
    return str(min(found, key=lambda each: each[0] != socket.AF_INET)[4][0])


def refuse_taken(host: str, port: int) -> None:
    """Raise CannotListen if one cannot listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotListen(f"Cannot listen on {host}, port {port}: {error.strerror}.") from error


def serves_this_machine_alone(listen: str, trusted_proxies: Sequence[str]) -> bool:
    """Return whether a server listening there serves only this machine, directly and through proxies.

    Then plain HTTP is the default, unless KEEPER_TLS is set. `listen` is a numeric address, or empty
    where it is not known.
    """
    return bool(listen) and ipaddress.ip_address(listen).is_loopback and not trusted_proxies
