"""QA's jobs, put together from settings: what asks for them, and what does them."""

from dataclasses import replace

from quest_backend.clock import Clock
from quest_backend.jobs.memory import MemoryBudget
from quest_backend.jobs.queue import QaQueue
from quest_backend.jobs.refresh import Refresher
from quest_backend.jobs.scoring import Scorer
from quest_backend.jobs.worker import Worker, WorkerOptions
from quest_backend.settings import Settings
from quest_backend.state.qa import QaStore
from quest_backend.state.sessions import SessionStore
from quest_backend.state.valkey import Valkey
from quest_backend.storage.records import UploadRecords
from quest_backend.storage.s3 import ObjectStore


class QaJobs:
    """The queue, the scorer, and workers of one process.

    Args:
        settings: for thresholds and bounds.
        url: of Valkey, for the workers' own connections.
        valkey: for everything else.
        store: the opened bucket.
        clock: the time.
    """

    def __init__(
        self, settings: Settings, url: str, valkey: Valkey, store: ObjectStore, clock: Clock
    ) -> None:
        self._timeout_s = settings.redis_timeout_ms / 1000
        self._url = url
        self._clock = clock
        self.queue = QaQueue(valkey, clock)
        self.results = QaStore(valkey, clock, settings.qa_judge)
        uploads = UploadRecords(
            valkey, SessionStore(valkey, clock), clock, settings.upload_expiry_hours * 3600
        )
        self.budget = MemoryBudget()
        self.scorer = Scorer(
            store, self.results, uploads, clock, self.budget, settings.qa_max_member_bytes
        )
        self._refresher = Refresher(store, self.results, self.queue)

    def worker(self, concurrency: int, options: WorkerOptions | None = None) -> Worker:
        """One more worker, not yet started."""
        return Worker(
            self._url,
            self._timeout_s,
            self.queue,
            self.scorer,
            self._refresher,
            self._clock,
            replace(options or WorkerOptions(), concurrency=concurrency),
        )
