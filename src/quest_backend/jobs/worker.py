"""A worker: takes jobs from the queue, in the server or in a process of its own."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast

import structlog
from taskiq import Context, TaskiqDepends, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.acks import AckableMessage, AcknowledgeType
from taskiq.receiver import Receiver

from quest_backend import tasks
from quest_backend.clock import Clock
from quest_backend.jobs import messages
from quest_backend.jobs.broker import MOST_DELIVERIES, TRANSIENT, Delivery, LeasedStreamBroker
from quest_backend.jobs.bucket import StoredRecording
from quest_backend.jobs.queue import QaQueue
from quest_backend.jobs.refresh import Refresher
from quest_backend.jobs.scoring import Scorer
from quest_backend.state.valkey import StoreUnavailable

log = structlog.get_logger()

_DUE_EVERY_S = 1.5
_FORGET_EVERY_S = 3600.0
_RESTART_S = 1.0
_KILLER = "every worker that took it has ended while it ran"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker works.

    Args:
        concurrency: jobs at the same time.
        lease_s: how long a dead worker's jobs wait for another one.
        job_s: longest time of a job.
        attempts: how often a job is tried.
        first_s: pause before the second try; each further one is four times as long.
        longest_s: longest pause.
        finish_s: what running jobs may take when the worker stops.
    """

    concurrency: int = 2
    lease_s: float = 15
    job_s: float = 600
    attempts: int = 8
    first_s: float = 1
    longest_s: float = 600
    finish_s: float = 5

    def pause_s(self, failures: int) -> float:
        """Seconds until the next try after so many failures, with jitter."""
        usual: float = min(self.longest_s, self.first_s * 4.0 ** (failures - 1))
        return usual * random.uniform(0.5, 1.5)  # noqa: S311 - jitter


class _Ledger(TaskiqMiddleware):
    """Writes down what becomes of jobs: one that failed is tried later, or is dead.

    What raises here leaves the job unacknowledged: it is taken up again after its lease.
    """

    def __init__(self, queue: QaQueue, clock: Clock, options: WorkerOptions) -> None:
        super().__init__()
        self._queue = queue
        self._clock = clock
        self._options = options

    async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """As taskiq calls it."""
        await self._queue.began(message)
        return message

    async def on_error(
        self,
        message: TaskiqMessage,
        result: TaskiqResult[Any],  # noqa: ARG002 - taskiq gives it
        exception: BaseException,
    ) -> None:
        """As taskiq calls it."""
        name, failures = messages.name_of(message), messages.attempts_of(message) + 1
        now = self._clock.unix_ms()
        if isinstance(exception, asyncio.CancelledError):
            # The worker stops: not the job's fault.
            await self._queue.later(message, now)
            return
        reason = f"{type(exception).__name__}: {exception}"
        if failures >= self._options.attempts:
            log.error("qa_job_dead", job=name, attempts=failures, reason=reason)
            await self._queue.died(message, failures, reason)
            return
        pause_s = self._options.pause_s(failures)
        log.warning("qa_job_failed", job=name, attempts=failures, reason=reason, again_s=pause_s)
        await self._queue.later(messages.again(message, failures), now + int(pause_s * 1000))


class _Receiver(Receiver):
    """Keeps the lease of each job as long as it is being done, and knows what to cancel."""

    def __init__(self, broker: LeasedStreamBroker, concurrency: int) -> None:
        super().__init__(
            broker,
            max_async_tasks=concurrency,
            run_startup=False,
            validate_params=False,
            ack_type=AcknowledgeType.WHEN_EXECUTED,
            # It waits for ever without; those left are cancelled then.
            wait_tasks_timeout=0.01,
        )
        self.leased = broker
        self.running: set[asyncio.Task[Any]] = set()

    async def callback(self, message: bytes | AckableMessage, raise_err: bool = False) -> None:
        """As taskiq calls it, for each job."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self.running.add(task)
        try:
            await super().callback(message, raise_err)
        except (StoreUnavailable, *TRANSIENT) as error:
            log.warning("qa_job_not_settled", reason=str(error))
        finally:
            self.running.discard(task)
            if isinstance(message, Delivery):
                self.leased.let_go(message)


class Worker:
    """Does jobs until it is stopped."""

    def __init__(
        self,
        url: str,
        timeout_s: float,
        queue: QaQueue,
        scorer: Scorer,
        refresher: Refresher,
        clock: Clock,
        options: WorkerOptions,
    ) -> None:
        self._queue = queue
        self._scorer = scorer
        self._refresher = refresher
        self._clock = clock
        self._options = options
        self._broker = LeasedStreamBroker(url, timeout_s, options.lease_s, self._lost)
        self._broker.add_middlewares(_Ledger(queue, clock, options))
        self._register()
        self._finish = asyncio.Event()
        self._receiver = _Receiver(self._broker, options.concurrency)
        self._loops: list[asyncio.Task[None]] = []
        self._listening: asyncio.Task[None] | None = None

    def _register(self) -> None:
        """The two kinds of jobs. Taskiq hands each its arguments and its own message."""

        async def score(
            session_id: str,
            files: dict[str, list[Any]] | None,
            context: Annotated[Context, TaskiqDepends()],
        ) -> None:
            found = StoredRecording.read(session_id, files) if files is not None else None
            async with asyncio.timeout(self._options.job_s):
                wait = await self._scorer.score(session_id, found)
            if wait is None:
                await self._queue.done(context.message)
            else:
                await self._queue.put_off(context.message, wait.until_ms)

        async def refresh(
            refresh_id: str, after: str, context: Annotated[Context, TaskiqDepends()]
        ) -> None:
            async with asyncio.timeout(self._options.job_s):
                await self._refresher.step(refresh_id, after)
            await self._queue.done(context.message)

        self._broker.register_task(score, messages.SCORE)
        self._broker.register_task(refresh, messages.REFRESH)

    async def _lost(self, data: bytes) -> None:
        message = self._broker.formatter.loads(data)
        log.error("qa_job_dead", job=messages.name_of(message), reason=_KILLER)
        await self._queue.died(message, MOST_DELIVERIES, _KILLER)

    async def start(self) -> None:
        """Begin; Valkey may be away."""
        # Each failure is told by ``_Ledger``; taskiq adds a traceback of every attempt.
        logging.getLogger("taskiq").setLevel(logging.CRITICAL)
        await self._broker.startup()
        loop = asyncio.get_running_loop()
        self._listening = loop.create_task(self._listen(), name="qa-jobs")
        self._loops = [
            loop.create_task(self._keep(self._broker.renew, self._options.lease_s / 3)),
            loop.create_task(self._keep(self._move_due, _DUE_EVERY_S)),
            loop.create_task(self._keep(self._broker.forget_workers, _FORGET_EVERY_S)),
        ]

    async def stop(self) -> None:
        """Take no more jobs; those that do not end soon are given back."""
        self._finish.set()
        running = set(self._receiver.running)
        if running:
            await asyncio.wait(running, timeout=self._options.finish_s)
        await tasks.end(self._receiver.running)
        await tasks.end([each for each in (self._listening, *self._loops) if each is not None])
        await self._broker.shutdown()

    async def _listen(self) -> None:
        while not self._finish.is_set():
            try:
                await self._receiver.listen(self._finish)
            except Exception as error:
                log.error("qa_worker_failed", exc_info=error)
                await asyncio.sleep(_RESTART_S)
                self._receiver = _Receiver(self._broker, self._options.concurrency)

    async def _move_due(self) -> None:
        await self._queue.move_due()

    @staticmethod
    async def _keep(work: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s * random.uniform(0.5, 1))  # noqa: S311 - jitter
            try:
                await work()
            except (StoreUnavailable, *TRANSIENT) as error:
                log.debug("qa_queue_away", reason=str(error))
