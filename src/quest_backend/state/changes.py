"""What nodes must not miss of each other: streams in Valkey, read in order.

``fleet:changes`` has every commit of a device, written by the script that commits it, and what is
for a tablet wherever it is. ``inbox:{nodeId}`` has what is for one node: commands to its headsets,
and what others watch there. A reader that was cut off goes on from where it was, and knows when
more has come meanwhile than a stream keeps.
"""

import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import structlog

from quest_backend.state import keys
from quest_backend.state.valkey import Valkey
from quest_backend.state.versions import VERSION, is_newer

log = structlog.get_logger()

Message = dict[str, Any]

_INBOX_LENGTH = 20_000
# What waits this long for a node that does not come back is of no use any more.
_INBOX_TTL_S = 3600
_PER_READ = 500
_REMEMBERED = 10_000
# A node is not without Valkey for longer than a failover takes before it knows.
_MOVED_WITHIN_MS = 30_000


def _order(entry_id: str) -> tuple[int, int]:
    """Streams' ids, ``{milliseconds}-{number}``, in the order in which they were given."""
    at_ms, _, number = entry_id.partition("-")
    return int(at_ms), int(number)


class Changes:
    """One node's writing to, and reading of, the streams. Every message is handed on once."""

    def __init__(self, valkey: Valkey, node_id: str, timeout_s: float) -> None:
        self._valkey = valkey
        self._node = node_id
        # Well within the time after which a connection counts as dead.
        self._block_ms = max(10, int(timeout_s * 500))
        self._inbox = keys.inbox(node_id)
        self._read_to: dict[Any, Any] = {}
        # Something may be gone unread. Whoever takes the store over as it is sets this back.
        self.missed = False
        self._handed: OrderedDict[str, None] = OrderedDict()

    async def begin(self) -> None:
        """What is in the streams by now is known, or for an earlier life of this node.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        for stream in (keys.CHANGES, self._inbox):
            self._read_to[stream] = await self._end_of(stream)

    async def step_back(self) -> None:
        """Go on a little before the streams' ends, where these are behind what has been read.

        So they are when a replica with an earlier clock, or without the newest entries, has become
        the primary: what is added there would count as read. What comes twice is known by its
        number.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        for stream, read_to in list(self._read_to.items()):
            end = await self._end_of(stream)
            if _order(end) < _order(read_to):
                log.warning("stream_went_back", stream=stream, read_to=read_to, end=end)
                self._read_to[stream] = f"{max(0, _order(end)[0] - _MOVED_WITHIN_MS)}-0"

    async def _end_of(self, stream: str) -> str:
        last = await self._valkey.call(self._valkey.client.xrevrange(stream, count=1))
        return last[0][0] if last else "0-0"

    async def read(self) -> list[Message]:
        """What is new, oldest first; waits a little when there is nothing.

        Raises:
            StoreUnavailable: Valkey is away; the next call goes on where this one would have.
        """
        answer = await self._valkey.read_streams(self._read_to, _PER_READ, self._block_ms)
        messages: list[Message] = []
        for stream, entries in answer:
            # Streams keep far more than is read at once: only then can anything be gone.
            if len(entries) == _PER_READ:
                self.missed |= await self._cut_short(stream)
        for stream, entries in answer:
            for entry_id, fields in entries:
                self._read_to[stream] = entry_id
                message = self._once(fields)
                if message is not None:
                    messages.append(message)
        return messages

    async def _cut_short(self, stream: Any) -> bool:
        """Whether the stream has lost what this node read last, and perhaps what came next."""
        oldest = await self._valkey.call(self._valkey.client.xrange(stream, count=1))
        return not oldest or _order(oldest[0][0]) > _order(self._read_to[stream])

    def _once(self, fields: Mapping[str, str]) -> Message | None:
        message: Message = orjson.loads(fields["m"])
        if is_newer(message):
            # A newer node knows that this one is about: what it must understand comes as 1.
            log.debug("newer_message_left", kind=message.get("k"))
            return None
        # A sender whose connection broke sends again what may have arrived.
        number = message.get("i")
        if number is not None:
            if number in self._handed:
                return None
            self._handed[number] = None
            if len(self._handed) > _REMEMBERED:
                self._handed.popitem(last=False)
        return message

    async def post(self, messages: Iterable[tuple[str, Message]]) -> None:
        """Put each message into its node's inbox, all in one round trip.

        Raises:
            StoreUnavailable: nothing is known to be posted.
        """
        pipe = self._valkey.client.pipeline(transaction=False)
        inboxes = set()
        for node_id, message in messages:
            inbox = keys.inbox(node_id)
            inboxes.add(inbox)
            pipe.xadd(inbox, self._fields(message), maxlen=_INBOX_LENGTH, approximate=True)
        for inbox in inboxes:
            pipe.expire(inbox, _INBOX_TTL_S)
        if inboxes:
            await self._valkey.call(pipe.execute())

    async def announce(self, message: Message) -> None:
        """Tell every node.

        Raises:
            StoreUnavailable: it is not known to be told.
        """
        await self._valkey.call(
            self._valkey.client.xadd(
                keys.CHANGES, self._fields(message), maxlen=_INBOX_LENGTH, approximate=True
            )
        )

    def _fields(self, message: Message) -> dict[Any, Any]:
        whole = {"v": VERSION, "n": self._node, "i": secrets.token_hex(8), **message}
        return {"m": orjson.dumps(whole).decode()}
