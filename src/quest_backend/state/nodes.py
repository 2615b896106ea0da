"""The servers that share one Valkey: heartbeats, and who sees to a dead one's clients."""

from dataclasses import dataclass

from quest_backend.clock import Clock
from quest_backend.state import keys
from quest_backend.state.valkey import Valkey


@dataclass(frozen=True, slots=True)
class Beat:
    """``was_alive``: the heartbeat before had not expired. ``alive`` includes this node."""

    was_alive: bool
    alive: frozenset[str]
    dead: frozenset[str]


class NodeRegistry:
    """A node lives as long as its key, which each of its heartbeats renews."""

    def __init__(self, valkey: Valkey, clock: Clock, node_id: str, timeout_s: float) -> None:
        self._valkey = valkey
        self._clock = clock
        self.node_id = node_id
        self.timeout_s = timeout_s

    async def beat(self) -> Beat:
        """This node is alive; who else is, and who is not any more."""
        was, alive, dead = await self._valkey.script(
            "heartbeat",
            node=self.node_id,
            now=self._clock.iso(),
            lifetime_ms=int(self.timeout_s * 1000),
        )
        return Beat(bool(was), frozenset(alive), frozenset(dead))

    async def claim(self, what: str, lease_s: float) -> bool:
        """Whether this node is the one that does ``what`` for the next ``lease_s`` seconds."""
        lease = self._valkey.client.set(
            keys.lease(what), self.node_id, nx=True, px=max(1, int(lease_s * 1000))
        )
        return bool(await self._valkey.call(lease))

    async def claim_dead(self, node_id: str, lease_s: float) -> bool:
        """Whether this node is the one that sees to a dead node's clients, within ``lease_s``.

        Raises:
            StoreUnavailable: nothing is known to be claimed.
        """
        return bool(
            await self._valkey.script(
                "claim_dead", node=node_id, by=self.node_id, lease_ms=int(lease_s * 1000)
            )
        )

    async def forget(self, node_id: str) -> None:
        """A dead node's clients have been seen to. Nothing happens when it is back."""
        await self._valkey.script("forget_node", node=node_id)
