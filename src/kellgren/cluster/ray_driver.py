"""The connection to a Ray cluster; its errors say what to do."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kellgren.errors import ClusterError, MissingExtra
from kellgren.libraries import ray_without_telemetry

LOCAL = "local"
"""Stands for a cluster of this machine alone, which is started and ended with the command."""
AUTO = "auto"
"""Stands for the cluster to which this machine belongs."""
_SECONDS_TO_ANSWER = 10.0
_START = "Start one with ray start --head, or name another address"
TOKENS = "RAY_AUTH_MODE=token or RAY_AUTH_MODE=disabled"
"""What tells Ray whether a cluster demands a token; its own guess may be wrong."""


@contextmanager
def connected(address: str, cores: int) -> Iterator[Any]:
    """Be the driver of a cluster, until the block ends; what was started for it ends too.

    Args:
        address: ``HOST:PORT`` of the cluster's head, ``auto`` or ``local``.
        cores: of a ``local`` cluster.

    Yields:
        The module ``ray``.

    Raises:
        ClusterError: there is no such cluster, or this machine is not part of it.
        MissingExtra: Ray is not installed.
    """
    check_address(address)
    try:
        with ray_without_telemetry(**_token_of_its_own(address)) as ray:
            _begin(ray, address, cores)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "--ray",
            f"needs {error.name}, which is not installed",
            "Install it, in a clone: pip install '.[cluster]'",
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _begin(ray: Any, address: str, cores: int) -> None:
    # Nothing that a worker prints comes here, and no web page is opened.
    wanted: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        wanted |= {"num_cpus": cores, "include_dashboard": False}
    try:
        ray.init(address=address, **wanted)
    except ConnectionError:
        raise ClusterError(
            f"--ray {address}",
            "no Ray cluster is found from this machine, or it demands a token",
            f"{_START}; set RAY_AUTH_MODE=token for one that demands a token",
        ) from None
    except (RuntimeError, ValueError, OSError) as error:
        raise ClusterError(
            f"--ray {address}",
            f"cannot be joined ({_first_sentence(error)})",
            "Run the command on a machine of the cluster, with its versions of Python and Ray",
        ) from None


def _token_of_its_own(address: str) -> dict[str, str]:
    """What keeps others out of a cluster that is started here, and leaves nothing behind.

    Ray itself would write a token into the home folder, which later clusters would demand.
    """
    if address != LOCAL or "RAY_AUTH_MODE" in os.environ or "ray" in sys.modules:
        return {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def check_address(address: str) -> None:
    """Whether anybody answers there: Ray itself would try for minutes.

    Raises:
        ClusterError: the address is none, or nobody does.
    """
    if address in (LOCAL, AUTO):
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise ClusterError(
            f"--ray {address}",
            "is not an address of a cluster",
            f"Give HOST:PORT of its head, as ray start prints it, or {AUTO} or {LOCAL}",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ClusterError(
            f"--ray {address}", f"does not answer ({reason})", f"Check the address. {_START}"
        ) from None


def _first_sentence(error: BaseException) -> str:
    return " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
