"""RFC 6455, 4: who gets in, with what answer; and how an application lets in or refuses."""

import asyncio
import contextlib
from typing import Any

import pytest
from websocket_support import (
    CLOSE,
    KEY_ANSWER,
    PROTOCOLS,
    TEXT,
    Echo,
    Frame,
    Peer,
    Receive,
    Scope,
    Send,
    closing,
    connected,
    masked,
    serving,
    until,
    upgrade,
)

pytestmark = pytest.mark.asyncio

# Headers beside the usual ones (None: left out), and the status of the answer.
REQUESTS: list[tuple[str, dict[str, str | None], int]] = [
    ("1.3 usual", {}, 101),
    ("4.2.1 upgrade in any case", {"upgrade": "WebSocket", "connection": "UPGRADE"}, 101),
    ("4.2.1 upgrade among others", {"connection": "keep-alive, Upgrade"}, 101),
    ("4.2.1 origin and cookies", {"origin": "http://lab.test", "cookie": "a=b; c=d"}, 101),
    ("4.2.1 no key", {"sec_websocket_key": None}, 400),
    ("4.2.1 empty key", {"sec_websocket_key": ""}, 400),
    ("4.2.1 key of 15 bytes", {"sec_websocket_key": "A" * 20}, 400),
    ("4.2.1 key of 17 bytes", {"sec_websocket_key": "A" * 23 + "="}, 400),
    ("4.2.1 key is no base64", {"sec_websocket_key": "!" * 24}, 400),
    ("4.4 no version", {"sec_websocket_version": None}, 426),
    ("4.4 version 8", {"sec_websocket_version": "8"}, 426),
    ("4.4 version 14", {"sec_websocket_version": "14"}, 426),
    ("4.4 two versions", {"sec_websocket_version": "13, 8"}, 426),
]
# What the fallback protocols say instead.
DIFFERS = {
    **{("websockets-sansio", name): 400 for name, _, status in REQUESTS if status == 426},
    ("wsproto", "4.4 no version"): 400,
    # It takes any key.
    **{
        ("wsproto", name): 101 for name, _, _ in REQUESTS if " key" in name and "no key" not in name
    },
}


class Doing:
    """An application that does as it is told."""

    def __init__(self, *messages: dict[str, Any], error: Exception | None = None) -> None:
        self._messages = messages
        self._error = error
        self.heard: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.heard.append(await receive())
        for message in self._messages:
            await send(message)
        if self._error is not None:
            raise self._error


ACCEPT = {"type": "websocket.accept"}


@contextlib.asynccontextmanager
async def asking(app: Any, request: bytes, protocol: str = "picows", **options: Any) -> Any:
    async with serving(app, protocol, **options) as running:
        peer = await Peer.connect(running.port)
        await peer.send(request)
        yield peer
        peer.hang_up()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("name", "headers", "status"), REQUESTS, ids=[one[0] for one in REQUESTS])
async def test_requests(
    protocol: str, name: str, headers: dict[str, str | None], status: int
) -> None:
    echo = Echo()
    async with asking(echo, upgrade("/", **headers), protocol) as peer:
        got, answer = await peer.head()
        assert got == DIFFERS.get((protocol, name), status)
        if got == 101:
            assert status != 101 or answer[b"sec-websocket-accept"] == KEY_ANSWER
            assert answer[b"upgrade"].lower() == b"websocket"
            assert answer[b"connection"].lower() == b"upgrade"
            assert len(echo.scopes) == 1
        else:
            await peer.rest()
            assert not echo.scopes
        if protocol.startswith("picows") and got == 426:
            assert answer[b"sec-websocket-version"] == b"13"  # 4.4


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_no_extension_is_negotiated(protocol: str) -> None:
    """9.1: offered, not taken."""
    offer = "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame"
    async with asking(Echo(), upgrade(sec_websocket_extensions=offer), protocol) as peer:
        status, answer = await peer.head()
        assert status == 101
        assert b"sec-websocket-extensions" not in answer


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("chosen", [None, "v2.lab"])
async def test_subprotocols(protocol: str, chosen: str | None) -> None:
    """4.2.2: one of those offered, or none; the application chooses."""
    app = Choosing(chosen)
    request = upgrade(sec_websocket_protocol="v1.lab, v2.lab")
    async with asking(app, request, protocol) as peer:
        status, answer = await peer.head()
        assert status == 101
        assert answer.get(b"sec-websocket-protocol") == (chosen.encode() if chosen else None)
    assert app.offered == ["v1.lab", "v2.lab"]


class Choosing(Echo):
    """Accepts with a subprotocol and a header."""

    def __init__(self, subprotocol: str | None) -> None:
        super().__init__()
        self._subprotocol = subprotocol
        self.offered: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.offered = list(scope["subprotocols"])
        await receive()
        await send({
            "type": "websocket.accept", "subprotocol": self._subprotocol,
            "headers": [(b"x-lab", b"7")],
        })  # fmt: skip
        await receive()


async def test_scope_and_headers_of_the_answer() -> None:
    app = Echo()
    request = upgrade("/a%20b/c?x=1&y=%2F", x_one="é")
    async with asking(app, request, headers=[("x-server", "lab")]) as peer:
        status, answer = await peer.head()
        assert status == 101
        assert answer[b"x-server"] == b"lab"
    scope = app.scopes[0]
    assert scope["path"] == "/a b/c"
    assert scope["raw_path"] == b"/a%20b/c"
    assert scope["query_string"] == b"x=1&y=%2F"
    assert (b"x-one", "é".encode()) in scope["headers"]
    assert scope["client"][0] == "127.0.0.1"
    async with asking(Choosing(None), upgrade()) as peer:
        assert (await peer.head())[1][b"x-lab"] == b"7"


class Slow(Echo):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.set()
        await self.go.wait()
        await super().__call__(scope, receive, send)


@pytest.mark.parametrize("size", [10, 60_000])
async def test_frames_before_the_answer(size: int) -> None:
    """No client sends them; they are not lost."""
    app = Slow()
    async with serving(app) as running:
        peer = await Peer.connect(running.port)
        await peer.send(upgrade())
        await app.asked.wait()
        await peer.send(masked(TEXT, b"x" * size))
        await until(lambda: len(running.protocol._early) > size, "not read")
        app.go.set()
        assert (await peer.head())[0] == 101
        assert await peer.frame() == Frame(TEXT, b"x" * size)
        peer.hang_up()


async def test_a_flood_before_the_answer_is_cut_off() -> None:
    app = Late()
    async with serving(app) as running:
        peer = await Peer.connect(running.port)
        await peer.send(upgrade())
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                await peer.send(b"\x00" * 65536)
        assert await peer.rest() == b""
        peer.hang_up()
    assert app.heard == ["websocket.connect", "websocket.disconnect"]


class Late:
    """Never answers."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(2):
            self.heard.append((await receive())["type"])


@pytest.mark.parametrize(
    ("messages", "status", "body"),
    [
        ([{"type": "websocket.close"}], 403, b"Forbidden"),
        (
            [
                {"type": "websocket.http.response.start", "status": 429,
                 "headers": [(b"retry-after", b"3"), (b"content-type", b"application/json")]},
                {"type": "websocket.http.response.body", "body": b'{"ok":', "more_body": True},
                {"type": "websocket.http.response.body", "body": b"false}"},
            ],
            429, b'{"ok":false}',
        ),
        ([], 500, b"Internal Server Error"),
        ([{"type": "websocket.send", "text": "too early"}], 500, b"Internal Server Error"),
    ],
    ids=["close", "response", "nothing", "send"],
)  # fmt: skip
async def test_refusals(messages: list[dict[str, Any]], status: int, body: bytes) -> None:
    async with asking(Doing(*messages), upgrade()) as peer:
        got, answer = await peer.head()
        assert got == status
        assert await peer.rest() == body
        assert int(answer[b"content-length"]) == len(body)
        if status == 429:
            assert answer[b"retry-after"] == b"3"
            assert answer[b"content-type"] == b"application/json"


@pytest.mark.parametrize(
    ("messages", "error", "code", "reason"),
    [
        ([ACCEPT], None, 1000, b""),
        ([ACCEPT, {"type": "websocket.close"}], None, 1000, b""),
        ([ACCEPT, {"type": "websocket.close", "code": 4001, "reason": "ü" * 100}], None, 4001,
         "ü".encode() * 61),
        ([ACCEPT], RuntimeError("a bug"), 1011, b"internal error"),
        ([ACCEPT, ACCEPT], None, 1011, b"internal error"),
    ],
    ids=["returns", "closes", "a long reason", "raises", "accepts twice"],
)  # fmt: skip
async def test_ends(
    messages: list[dict[str, Any]], error: Exception | None, code: int, reason: bytes
) -> None:
    """What the client hears when the application ends (7.1.5, 7.1.6)."""
    async with asking(Doing(*messages, error=error), upgrade()) as peer:
        assert (await peer.head())[0] == 101
        assert await peer.frame() == Frame(CLOSE, code.to_bytes(2) + reason)
        with contextlib.suppress(ConnectionError):
            await peer.send(closing(code))
        assert await peer.frames() == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (closing(4005), 4005),
        (closing(None), 1005),
        (masked(3), 1002),
        (b"", 1006),
    ],
    ids=["code", "no code", "violation", "gone"],
)
async def test_the_application_hears_the_code(protocol: str, sent: bytes, code: int) -> None:
    echo = Echo()
    async with serving(echo, protocol) as running, connected(running) as peer:
        await peer.send(sent)
        peer.half_close()
        await peer.frames()
    if protocol.startswith("picows"):
        assert echo.ended == [code]
    else:
        # They have one code for all that did not end by the client's close.
        assert echo.ended[0] in (code, 1005, 1006)


async def test_a_violation_outranks_the_close_behind_it() -> None:
    """The first of both says why. (uvicorn's websockets-sansio raises InvalidState here.)"""
    echo = Echo()
    async with serving(echo) as running, connected(running) as peer:
        await peer.send(masked(TEXT, b"\xff") + closing(1000))
        assert [frame.code for frame in await peer.frames()] == [1007]
    assert echo.ended == [1007]
