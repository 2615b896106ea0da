"""Tablets whose access was taken back: out at once here, within seconds on other nodes."""

import asyncio

import structlog

from quest_backend.realtime.connections import Connections
from quest_backend.state.tablets import PairedTablet, TabletRegistry
from quest_backend.state.valkey import StoreUnavailable
from quest_backend.tokens import Tokens

log = structlog.get_logger()

_POLL_S = 5.0


class Revocation:
    """What ``Tokens`` refuses, in step with the registry; sockets of the refused are closed."""

    def __init__(self, registry: TabletRegistry, tokens: Tokens, connections: Connections) -> None:
        self.registry = registry
        self._tokens = tokens
        self._connections = connections

    async def revoke(self, tablet_id: str) -> PairedTablet:
        """Take a tablet's access back.

        Raises:
            UnknownTabletError: never paired by code.
        """
        tablet = await self.registry.revoke(tablet_id)
        await self.load()
        return tablet

    async def load(self) -> None:
        """Refuse what the registry says, from now on."""
        revoked = await self.registry.revoked()
        news = revoked - self._tokens.revoked
        self._tokens.revoked = revoked
        for tablet_id in news:
            for connection in self._connections.tablet(tablet_id):
                log.info("tablet_revoked", tablet=tablet_id, sid=connection.sid)
                connection.client.session.close("access taken back")

    async def keep(self) -> None:
        """For ever: take over what other nodes revoked."""
        while True:
            await asyncio.sleep(_POLL_S)
            try:
                await self.load()
            except StoreUnavailable as error:
                log.warning("revocations_not_read", reason=str(error))
