"""A simulated headset's way from a stopped recording to two files in the bucket."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quest_backend.client import FileType, UploadClient, Uploaded, UploadError
from quest_backend.simulator import recordings
from quest_backend.simulator.recordings import Take

_PATIENCE_S = 60.0


class Recorder:
    """Records takes and uploads them one after another, video and data side by side."""

    def __init__(
        self, url: str, device_id: str, token: str, encoders: asyncio.Semaphore,
        make: Callable[[Take, Path], dict[FileType, Path]] = recordings.make,
        patience_s: float = _PATIENCE_S,
    ) -> None:  # fmt: skip
        """``encoders``: shared by the fleet: encoding takes a core. ``make`` writes the files."""
        self._encoders = encoders
        self._make = make
        self._patience_s = patience_s
        self.device_id = device_id
        self.takes = 0  # stopped, and so to be uploaded
        self.uploaded: list[Uploaded] = []
        self.failed: list[str] = []
        self.progress: float | None = None  # 0..1 while something is on its way
        self._url = url
        self._token = token
        self._began: tuple[datetime, float] | None = None
        self._last = datetime.min.replace(tzinfo=UTC)
        self._queue: asyncio.Queue[Take] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a take waits or is on its way."""
        return self.progress is not None or not self._queue.empty()

    def begin(self) -> None:
        """The headset records from now on."""
        # Two takes of one second would be one recording: their names are their seconds.
        now = max(datetime.now(UTC), self._last + timedelta(seconds=1))
        self._last = now
        self._began = (now, time.monotonic())

    def forget(self) -> None:
        """The app crashed: what was being recorded is lost."""
        self._began = None

    def end(self) -> None:
        """The headset has stopped: the take goes on its way."""
        if self._began is None:
            return
        began, since = self._began
        self._began = None
        seed = recordings.new_seed(self.device_id, began)
        self.takes += 1
        self._queue.put_nowait(Take(self.device_id, began, time.monotonic() - since, seed))
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """Leave what is on its way."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def _work(self) -> None:
        async with UploadClient(
            self._url, token=self._token, connections=2, patience_s=self._patience_s
        ) as client:
            while True:
                take = await self._queue.get()
                self.progress = 0.0
                try:
                    await self._upload(client, take)
                except (UploadError, OSError) as error:
                    self.failed.append(f"{take.timestamp}: {error}")
                finally:
                    self.progress = None

    async def _upload(self, client: UploadClient, take: Take) -> None:
        with tempfile.TemporaryDirectory(prefix="quest-take-") as folder:
            async with self._encoders:
                paths = await asyncio.to_thread(self._make, take, Path(folder))
            shares = dict.fromkeys(paths, 0)
            whole = sum(path.stat().st_size for path in paths.values())

            async def one(file_type: FileType, path: Path) -> Uploaded:
                def tell(done: int, _: int) -> None:
                    shares[file_type] = done
                    self.progress = sum(shares.values()) / whole

                return await client.upload(
                    path, timestamp=take.timestamp, file_type=file_type, progress=tell
                )

            self.uploaded.extend(
                await asyncio.gather(*(one(kind, path) for kind, path in paths.items()))
            )
