"""New QA results, told to dashboards and to the tablets whose sessions they are of."""

from quest_backend.protocol import catalogue
from quest_backend.protocol.payloads import QaCompleted
from quest_backend.realtime.connections import DASHBOARDS
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.outbox import Feed
from quest_backend.state.qa_news import QaNews, QaResult

# What is older was found in the bucket, not uploaded just now.
_UPLOADED_LATELY_S = 3600


class QualityNews:
    """Tells this node's sockets; every node does it for its own."""

    def __init__(self, hub: Hub, news: QaNews) -> None:
        self._hub = hub
        self._news = news
        # Joined and droppable: a refresh of a large bucket measures hundreds a second.
        self._feed = Feed(
            hub.outbox, catalogue.ON_QA_COMPLETED, lambda: hub.connections.room(DASHBOARDS)
        )

    async def keep_telling(self) -> None:
        """For ever."""
        async for result in self._news.follow():
            self.tell(result)

    def tell(self, result: QaResult) -> None:
        """One result, measured by whatever process."""
        self._hub.metrics.qa_scored.labels(result.verdict).inc()
        self._hub.metrics.qa_score.observe(result.score)
        delay_s = max(0, self._hub.clock.unix_ms() - result.modified_ms) / 1000
        if delay_s <= _UPLOADED_LATELY_S:
            self._hub.metrics.qa_delay.observe(delay_s)
        payload = _payload(result)
        if self._hub.connections.room(DASHBOARDS):
            self._feed.send(("qa", result.session_id), payload)
        if result.origin.tablet:
            connections = self._hub.connections
            # A tablet may watch as a dashboard does: it hears of it once.
            tablets = set(connections.tablet(result.origin.tablet)) - connections.room(DASHBOARDS)
            self._hub.outbox.send(tablets, catalogue.ON_QA_COMPLETED, payload)


def _payload(result: QaResult) -> QaCompleted:
    payload: QaCompleted = {
        "sessionId": result.session_id,
        "overallQualityScore": result.score,
        "verdict": result.verdict,  # type: ignore[typeddict-item]  # QaStore wrote one of the three
    }
    if result.origin.capture_session:
        payload["captureSessionId"] = result.origin.capture_session
    if result.origin.device_id:
        payload["deviceId"] = result.origin.device_id
    return payload
