"""What a station grants to those who call it: who may, how much, how long."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from kellgren.errors import KellgrenError
from kellgren.imaging.picture import MAX_FILE_BYTES

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class InvalidNetwork(KellgrenError):
    """An address that is none, or a network whose address has bits beyond its prefix."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what callers may take; each holds without the others.

    Attributes:
        object_bytes: of one object; what is longer is refused with status A700.
        unfinished_bytes: of all objects that have not arrived whole, on the disk.
        free_bytes: that objects leave on the disk.
        waiting: films in the queue.
        associations: at the same time.
        associations_per_address: likewise, with one address.
        openings: connections without an association yet.
        openings_per_address: likewise, from one address.
        opening_s: for TLS and the request of an association together.
        pdu_s: for one protocol data unit, from its first byte to its last.
        idle_s: without a protocol data unit.
        object_s: before the rate of an object's bytes counts.
        bytes_per_s: rate below which an object is given up.
        patience_s: without progress, after which an association makes room for another caller.
    """

    object_bytes: int = MAX_FILE_BYTES
    unfinished_bytes: int = 2 * 2**30
    free_bytes: int = 512 * 2**20
    waiting: int = 10_000
    associations: int = 24
    associations_per_address: int = 12
    openings: int = 32
    openings_per_address: int = 24
    opening_s: float = 10.0
    pdu_s: float = 15.0
    idle_s: float = 60.0
    object_s: float = 30.0
    bytes_per_s: int = 16 * 2**10
    patience_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call; an empty field lets everybody in.

    Attributes:
        calling: titles of application entities that may call.
        called: titles that they may call this station by.
        networks: that they may call from.
    """

    calling: frozenset[str] = frozenset()
    called: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def admits_address(self, host: str) -> bool:
        """Whether connections from an address are taken; one that is none is not."""
        if not self.networks:
            return True
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.networks)


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks in CIDR notation.

    Raises:
        InvalidNetwork: one of them is neither.
    """
    networks = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError as error:
            problem = f"is no address or network ({error})"
            raise InvalidNetwork(text, problem, "Write 10.1.2.3 or 10.1.2.0/24, say") from None
    return tuple(networks)
