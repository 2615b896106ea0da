"""QA lists of 100,000 measured recordings, asked of a real server over HTTP.

A server with its embedded Valkey is filled through the store that workers use. Then, with nothing
else going on: the summary and pages of lists, one after the other; the whole list, streamed, while
another client asks for ``/test`` all the time: what that one waits for is how long the list holds
up everything else. Times are those of a client on the same machine, so they include the client;
the bound is on the median, as other work on the machine only adds.

Usage: python benchmarks/qa_lists.py [--sessions 100000]. Exit code 1 when a bound is missed.
"""

import argparse
import asyncio
import copy
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from recordings import SESSION, arrays, fetcher, npz
from support import ADMIN_KEY, Server

from quest_backend.clock import Clock
from quest_backend.qa.judge import Judge
from quest_backend.qa.ranges import read
from quest_backend.qa.recording import read_recording
from quest_backend.qa.score import score_session
from quest_backend.qa.verdict import BUILT_IN
from quest_backend.qa.video import Video
from quest_backend.state.qa import QaStore, fingerprint
from quest_backend.state.valkey import Valkey

SUMMARY_BOUND_MS = 5.0
STALL_BOUND_MS = 50.0
ASKED = 500
WRITERS = 16
LISTS = {
    "newest": "limit=50",
    "worst": "limit=50&sort=score",
    "failed-and-open": "limit=50&verdict=FAIL&review=open&sort=-score&since=2020-03-01",
}


async def fill(server: Server, sessions: int) -> float:
    """Put that many results; puts per second."""
    data = npz(arrays())
    good = score_session(
        SESSION, read(read_recording(len(data)), fetcher(data)), Video("h264", 320, 180, 600, 10.0)
    )
    valkey = Valkey(f"unix://{server.data_dir}/valkey/valkey.sock", 30)
    store = QaStore(valkey, Clock(), Judge.of(BUILT_IN, "standard"))
    numbers = iter(range(sessions))

    async def writer() -> None:
        for number in numbers:
            made = copy.copy(good)
            made["sessionId"] = name(number)
            made["overallQualityScore"] = number * 7919 % 10_001 / 100
            await store.put(made, fingerprint(str(number), None), number)

    started = time.perf_counter()
    await asyncio.gather(*(writer() for _ in range(WRITERS)))
    await valkey.close()
    return sessions / (time.perf_counter() - started)


def name(number: int) -> str:
    day, second = divmod(number, 86_400)
    return f"202001{day + 1:02}_{second // 3600:02}{second // 60 % 60:02}{second % 60:02}"


async def timed(http: aiohttp.ClientSession, path: str) -> tuple[float, Any]:
    """Milliseconds, and the answer."""
    started = time.perf_counter()
    async with http.get(path) as reply:
        assert reply.status == 200, await reply.text()
        body = await reply.read()
    return (time.perf_counter() - started) * 1000, body


def shown(what: str, times: list[float]) -> float:
    ordered = sorted(times)
    median, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    print(f"{what:32}{median:9.2f} ms median{late:9.2f} ms 99 %{ordered[-1]:9.2f} ms most")
    return median


async def ask(server: Server, sessions: int) -> bool:
    async with aiohttp.ClientSession(server.url, headers={"X-API-Key": ADMIN_KEY}) as http:
        await timed(http, "/api/qa-metrics/summary")
        baseline = [(await timed(http, "/test"))[0] for _ in range(ASKED)]
        shown("/test, which needs no store", baseline)
        taken = [(await timed(http, "/api/qa-metrics/summary"))[0] for _ in range(ASKED)]
        summary_ms = shown("/summary", taken)
        for what, query in LISTS.items():
            path = f"/api/qa-metrics?{query}"
            shown(f"page: {what}", [(await timed(http, path))[0] for _ in range(ASKED // 5)])
        stall_ms = await whole(http, sessions)
    print(f"ratio qa_summary_median_ms {summary_ms:.2f}")
    print(f"ratio qa_whole_list_longest_wait_of_others_ms {stall_ms:.2f}")
    return summary_ms < SUMMARY_BOUND_MS and stall_ms < STALL_BOUND_MS


async def whole(http: aiohttp.ClientSession, sessions: int) -> float:
    waits: list[float] = []
    done = asyncio.Event()

    async def others() -> None:
        while not done.is_set():
            waits.append((await timed(http, "/test"))[0])
            await asyncio.sleep(0.002)

    asking = asyncio.create_task(others())
    read_bytes = count = 0
    started = time.perf_counter()
    async with http.get("/api/qa-metrics", timeout=aiohttp.ClientTimeout(total=600)) as reply:
        # Read as it comes, and counted: parsing here would hold up the other client.
        tail = b""
        async for chunk in reply.content.iter_any():
            read_bytes += len(chunk)
            count += (tail + chunk).count(b'"sessionId"') - tail.count(b'"sessionId"')
            tail = chunk[-12:]
    seconds = time.perf_counter() - started
    done.set()
    await asking
    assert count == sessions, (count, sessions)
    print(f"whole list: {read_bytes / 1e6:.1f} MB in {seconds:.2f} s, {len(waits)} others asked")
    shown("/test meanwhile", waits)
    return max(waits)


def main() -> int:
    parser = argparse.ArgumentParser(description="QA lists of many recordings.")
    parser.add_argument("--sessions", type=int, default=100_000)
    sessions = parser.parse_args().sessions
    with tempfile.TemporaryDirectory(prefix="qa-lists-") as folder:
        server = Server(Path(folder), RATE_LIMIT_MULTIPLIER="1e6", LOG_LEVEL="warning").start()
        try:
            rate = asyncio.run(fill(server, sessions))
            print(f"{sessions} results put, {rate:.0f} per second")
            return 0 if asyncio.run(ask(server, sessions)) else 1
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
