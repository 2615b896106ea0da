"""A server in a network of its own, behind a router that can stop passing anything on.

    this machine ──uplink── router ──── the server's network namespace
         └──────────────lab─────────────────┘

Valkey and the other servers are reached through the router; clients in the same lab reach the server
over the second cable, whatever the router does. A router that does not forward drops packets both
ways without a word, as a broken switch does: nobody is told that a connection is gone.
"""

import ipaddress
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

# RFC 2544, for tests of networks: never routed, and nobody's own.
_RANGE = ipaddress.IPv4Network("198.18.0.0/15")
_PREFIX = "quest-test"


class Island:
    """The namespace, its addresses, and the router's switch."""

    def __init__(self) -> None:
        self._tag = str(os.getpid())
        self._router = f"{_PREFIX}-{self._tag}-router"
        self._inside = f"{_PREFIX}-{self._tag}-inside"
        self._ip = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""
        subnets = list(_RANGE.subnets(new_prefix=28))
        hosts = list(subnets[os.getpid() % len(subnets)])
        self._uplink, self._backbone, self._lab = hosts[0:4], hosts[4:8], hosts[8:12]
        # Where the server finds Valkey; where the server is, by the router, and in the lab.
        self.outside = str(self._uplink[1])
        self.through_router = str(self._backbone[2])
        self.in_lab = str(self._lab[2])

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command begins with that is to run inside."""
        return (self._ip, "netns", "exec", self._inside)

    def cut(self) -> None:
        """Nothing passes the router, in either direction."""
        self._forward(on=False)

    def mend(self) -> None:
        """Everything passes again."""
        self._forward(on=True)

    def _forward(self, *, on: bool) -> None:
        switch = f"echo {int(on)} > /proc/sys/net/ipv4/ip_forward"
        _run(self._ip, "netns", "exec", self._router, "sh", "-c", switch)

    def build(self) -> None:
        """Make it; skips the test where nobody may."""
        if not self._ip:
            pytest.skip("NO ip (iproute2) on this machine: a cut network is NOT tested")
        self._remove_left_over()
        try:
            _run(self._ip, "netns", "add", self._router)
        except subprocess.CalledProcessError as error:
            if os.geteuid() == 0 and "not permitted" not in error.stderr:
                raise
            pytest.skip(f"Needs root to make network namespaces: {error.stderr.strip()}")
        _run(self._ip, "netns", "add", self._inside)
        self._cable("u", self._uplink, "", self._router)
        self._cable("b", self._backbone, self._router, self._inside)
        self._cable("l", self._lab, "", self._inside)
        for name in (self._router, self._inside):
            _run(self._ip, "-n", name, "link", "set", "lo", "up")
        backbone = f"{self._backbone[0]}/30"
        _run(self._ip, "route", "add", backbone, "via", str(self._uplink[2]))
        _run(self._ip, "-n", self._inside, "route", "add", "default", "via", str(self._backbone[1]))
        self.mend()

    def _cable(
        self, kind: str, addresses: list[ipaddress.IPv4Address], one: str, other: str
    ) -> None:
        ends = [f"q{self._tag}{kind}{side}" for side in "ab"]
        _run(self._ip, "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for end, network, address in zip(ends, (one, other), addresses[1:3], strict=True):
            where = ("-n", network) if network else ()
            if network:
                _run(self._ip, "link", "set", end, "netns", network)
            _run(self._ip, *where, "addr", "add", f"{address}/30", "dev", end)
            _run(self._ip, *where, "link", "set", end, "up")

    def remove(self) -> None:
        """Take everything away again; cables go with the networks they end in."""
        for name in (self._inside, self._router):
            if Path(f"/run/netns/{name}").exists():
                _run(self._ip, "netns", "del", name)

    def _remove_left_over(self) -> None:
        """What tests that were killed left behind."""
        for name in _run(self._ip, "netns", "list").split():
            made_by = re.fullmatch(rf"{_PREFIX}-(\d+)-\w+", name)
            if made_by and not psutil.pid_exists(int(made_by[1])):
                _run(self._ip, "netns", "del", name)


def _run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
    return done.stdout


@contextmanager
def island() -> Iterator[Island]:
    """A network for one server, gone afterwards whatever happens."""
    made = Island()
    try:
        made.build()
        yield made
    finally:
        made.remove()
