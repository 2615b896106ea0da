"""Engine.IO v4 and Socket.IO v5 as their authors' test suites check them, on both WebSockets."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio

INTERVAL_S, TIMEOUT_S = 0.3, 0.2


@pytest.fixture(scope="module", params=["picows", "websockets-sansio"])
def origin(request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent.parent / "protocol_server.py"), str(port)],
        env={**os.environ, "WEBSOCKET": request.param},
    )
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert process.poll() is None
        # the port opens within a second; nothing announces it
        import time

        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(5)


class Peer:
    """A client without a library, over HTTP and bare WebSockets."""

    def __init__(self, origin: str, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.polling = f"{origin}/socket.io/?EIO=4&transport=polling"
        self.engine = f"{origin}/engine.io/?EIO=4&transport=polling"
        self.base = f"{origin}/socket.io/"
        self.ws = f"{origin.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
        self.engine_ws = self.ws.replace("socket.io", "engine.io")

    async def get(self, url: str) -> tuple[int, str]:
        async with self.http.get(url) as reply:
            return reply.status, await reply.text()

    async def post(self, url: str, body: str) -> tuple[int, str]:
        async with self.http.post(url, data=body) as reply:
            return reply.status, await reply.text()

    async def session(self, url: str) -> str:
        status, text = await self.get(url)
        assert status == 200
        sid: str = json.loads(text[1:])["sid"]
        return f"{url}&sid={sid}"

    @asynccontextmanager
    async def connected(
        self, namespace: str = ""
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self.http.ws_connect(self.ws) as ws:
            await ws.receive()
            await ws.send_str(f"40{namespace}")
            await ws.receive()
            await ws.receive()
            yield ws


@pytest_asyncio.fixture
async def peer(origin: str) -> AsyncIterator[Peer]:
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        yield Peer(origin, http)


async def text(ws: aiohttp.ClientWebSocketResponse) -> str:
    message = await ws.receive(timeout=5)
    assert message.type is aiohttp.WSMsgType.TEXT, message
    return str(message.data)


async def closes(ws: aiohttp.ClientWebSocketResponse) -> None:
    async with asyncio.timeout(5):
        while True:
            message = await ws.receive()
            if message.type in (
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.CLOSING,
                aiohttp.WSMsgType.ERROR,
            ):
                return
            assert message.data == "2", message


class TestHandshake:
    async def test_polling_session(self, peer: Peer) -> None:
        status, body = await peer.get(peer.polling)
        opened = json.loads(body[1:])
        assert status == 200
        assert body[0] == "0"
        assert set(opened) == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
        assert opened["upgrades"] == ["websocket"]
        assert opened["pingInterval"] == 300
        assert opened["pingTimeout"] == 200
        assert opened["maxPayload"] == 1_000_000

    @pytest.mark.parametrize(
        "query",
        [
            "transport=polling",
            "EIO=abc&transport=polling",
            "EIO=4",
            "EIO=4&transport=abc",
            "EIO=4&transport=polling&sid=nobody",
            "EIO=4&transport=websocket",
            "",
        ],
    )
    async def test_bad_query(self, peer: Peer, query: str) -> None:
        assert (await peer.get(f"{peer.base}?{query}"))[0] == 400

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
    async def test_bad_method(self, peer: Peer, method: str) -> None:
        async with peer.http.request(method, peer.polling) as reply:
            assert reply.status == 400
            assert json.loads(await reply.text())["code"] == 2

    async def test_bad_method_of_a_session(self, peer: Peer) -> None:
        url = await peer.session(peer.polling)
        async with peer.http.request("DELETE", url) as reply:
            assert reply.status == 400

    async def test_websocket_session(self, peer: Peer) -> None:
        async with peer.http.ws_connect(peer.ws) as ws:
            opened = json.loads((await text(ws))[1:])
        assert opened["upgrades"] == []
        assert set(opened) == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}

    @pytest.mark.parametrize(
        "query",
        ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc",
         "EIO=4&transport=polling", "EIO=4&transport=websocket&sid=nobody"],
    )  # fmt: skip
    async def test_bad_websocket_query(self, peer: Peer, query: str) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with peer.http.ws_connect(f"{peer.base}?{query}"):
                pass
        assert refusal.value.status == 400


class TestHeartbeat:
    async def test_polling_pings(self, peer: Peer) -> None:
        url = await peer.session(peer.polling)
        await peer.post(url, "40")
        await peer.get(url)
        for _ in range(3):
            assert await peer.get(url) == (200, "2")
            assert await peer.post(url, "3") == (200, "ok")

    async def test_polling_times_out(self, peer: Peer) -> None:
        url = await peer.session(peer.engine)
        await asyncio.sleep(INTERVAL_S + TIMEOUT_S + 0.02)
        assert (await peer.get(url))[0] == 400

    async def test_websocket_pings(self, peer: Peer) -> None:
        async with peer.connected() as ws:
            for _ in range(3):
                assert await text(ws) == "2"
                await ws.send_str("3")

    async def test_websocket_times_out(self, peer: Peer) -> None:
        async with peer.http.ws_connect(peer.engine_ws) as ws:
            await ws.receive()
            assert await text(ws) == "2"
            await closes(ws)


class TestClose:
    async def test_polling(self, peer: Peer) -> None:
        url = await peer.session(peer.polling)
        polled = asyncio.create_task(peer.get(url))
        await asyncio.sleep(0.05)
        assert await peer.post(url, "1") == (200, "ok")
        assert await polled == (200, "6")
        assert (await peer.get(url))[0] == 400

    async def test_websocket(self, peer: Peer) -> None:
        async with peer.http.ws_connect(peer.ws) as ws:
            await ws.receive()
            await ws.send_str("1")
            await closes(ws)


class TestUpgrade:
    @asynccontextmanager
    async def upgraded(self, peer: Peer) -> AsyncIterator[tuple[str, Any]]:
        url = await peer.session(peer.polling)
        sid = url.rpartition("=")[2]
        async with peer.http.ws_connect(f"{peer.ws}&sid={sid}") as ws:
            await ws.send_str("2probe")
            assert await text(ws) == "3probe"
            await ws.send_str("5")
            yield url, ws

    async def test_upgrade(self, peer: Peer) -> None:
        async with self.upgraded(peer) as (_, ws):
            await ws.send_str("40")
            assert (await text(ws)).startswith("40{")
            await text(ws)
            await ws.send_str('42["message","héllo"]')
            assert await text(ws) == '42["message-back","héllo"]'

    async def test_http_is_ignored_afterwards(self, peer: Peer) -> None:
        async with self.upgraded(peer) as (url, _):
            assert (await peer.get(url))[0] == 400
            assert (await peer.post(url, "3"))[0] == 400

    async def test_second_websocket_is_ignored(self, peer: Peer) -> None:
        async with self.upgraded(peer) as (url, ws):
            sid = url.rpartition("=")[2]
            async with peer.http.ws_connect(f"{peer.ws}&sid={sid}") as second:
                await closes(second)
            await ws.send_str("40")
            assert (await text(ws)).startswith("40{")

    async def test_what_waited_comes_over_the_websocket(self, peer: Peer) -> None:
        url = await peer.session(peer.polling)
        sid = url.rpartition("=")[2]
        polled = asyncio.create_task(peer.get(url))
        async with peer.http.ws_connect(f"{peer.ws}&sid={sid}") as ws:
            await asyncio.sleep(0.05)
            await ws.send_str("2probe")
            assert await text(ws) == "3probe"
            assert await polled == (200, "6")
            await peer.post(url, "40")
            await ws.send_str("5")
            assert (await text(ws)).startswith("40{")
            assert await text(ws) == '42["auth",{}]'

    async def test_only_a_probe_upgrades(self, peer: Peer) -> None:
        url = await peer.session(peer.polling)
        async with peer.http.ws_connect(f"{peer.ws}&sid={url.rpartition('=')[2]}") as ws:
            await ws.send_str('42["message"]')
            await closes(ws)
        assert await peer.post(url, "40") == (200, "ok")


class TestEngineMessages:
    async def test_polling_echo(self, peer: Peer) -> None:
        url = await peer.session(peer.engine)
        assert await peer.post(url, "4hello") == (200, "ok")
        assert await peer.get(url) == (200, "4hello")

    async def test_polling_several(self, peer: Peer) -> None:
        url = await peer.session(peer.engine)
        await peer.post(url, "4one\x1e4two\x1e4€uro")
        assert await peer.get(url) == (200, "4one\x1e4two\x1e4€uro")

    async def test_polling_binary(self, peer: Peer) -> None:
        url = await peer.session(peer.engine)
        await peer.post(url, "bAQIDBA==")
        assert await peer.get(url) == (200, "bAQIDBA==")

    async def test_invalid_packet_ends_the_session(self, peer: Peer) -> None:
        url = await peer.session(peer.engine)
        assert (await peer.post(url, "abc"))[0] == 400
        assert (await peer.get(url))[0] == 400

    async def test_two_polls_at_once(self, peer: Peer) -> None:
        url = await peer.session(peer.engine)
        first = asyncio.create_task(peer.get(url))
        await asyncio.sleep(0.05)
        assert (await peer.get(url))[0] == 400
        assert await first == (200, "1")

    async def test_cancelled_poll_ends_the_session(self, peer: Peer) -> None:
        url = await peer.session(peer.engine)
        polled = asyncio.create_task(peer.get(url))
        await asyncio.sleep(0.05)
        polled.cancel()
        await asyncio.sleep(0.05)
        assert (await peer.get(url))[0] == 400

    async def test_too_large_a_body(self, peer: Peer) -> None:
        url = await peer.session(peer.engine)
        assert (await peer.post(url, "4" + "a" * 1_000_001))[0] == 413

    async def test_websocket_echo(self, peer: Peer) -> None:
        async with peer.http.ws_connect(peer.engine_ws) as ws:
            await ws.receive()
            await ws.send_str("4hello")
            assert await text(ws) == "4hello"
            await ws.send_bytes(b"\x01\x02")
            assert (await ws.receive()).data == b"\x01\x02"

    async def test_websocket_invalid_packet(self, peer: Peer) -> None:
        async with peer.http.ws_connect(peer.engine_ws) as ws:
            await ws.receive()
            await ws.send_str("abc")
            await closes(ws)


class TestConnect:
    @pytest.mark.parametrize("namespace", ["", "/custom,"])
    @pytest.mark.parametrize("payload", ["", '{"token":"123"}'])
    async def test_connect(self, peer: Peer, namespace: str, payload: str) -> None:
        async with peer.http.ws_connect(peer.ws) as ws:
            await ws.receive()
            await ws.send_str(f"40{namespace}{payload}")
            answer = await text(ws)
            assert answer.startswith(f"40{namespace}{{")
            assert list(json.loads(answer[2 + len(namespace) :])) == ["sid"]
            assert await text(ws) == f'42{namespace}["auth",{payload or "{}"}]'

    async def test_unknown_namespace(self, peer: Peer) -> None:
        async with peer.http.ws_connect(peer.ws) as ws:
            await ws.receive()
            await ws.send_str("40/random")
            assert await text(ws) == '44/random,{"message":"Invalid namespace"}'

    async def test_invalid_handshake(self, peer: Peer) -> None:
        async with peer.http.ws_connect(peer.ws) as ws:
            await ws.receive()
            await ws.send_str("4abc")
            await closes(ws)

    async def test_no_handshake(self, peer: Peer) -> None:
        async with peer.http.ws_connect(peer.ws) as ws:
            await ws.receive()
            for _ in range(3):
                if (await ws.receive()).data == "2":
                    await ws.send_str("3")
            await closes(ws)


class TestDisconnect:
    async def test_main_namespace(self, peer: Peer) -> None:
        async with peer.connected() as ws:
            await ws.send_str("41")
            await ws.send_str('42["message","hello"]')
            assert await text(ws) == "2"

    async def test_custom_namespace(self, peer: Peer) -> None:
        async with peer.connected() as ws:
            await ws.send_str("40/custom")
            await text(ws)
            await text(ws)
            await ws.send_str("41/custom")
            await ws.send_str('42["message","to main"]')
            assert await text(ws) == '42["message-back","to main"]'


class TestMessages:
    async def test_plain(self, peer: Peer) -> None:
        async with peer.connected() as ws:
            await ws.send_str('42["message",1,"2",{"3":[true]}]')
            assert await text(ws) == '42["message-back",1,"2",{"3":[true]}]'

    async def test_binary(self, peer: Peer) -> None:
        async with peer.connected() as ws:
            await ws.send_str(
                '452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
            )
            await ws.send_bytes(b"\x01\x02\x03")
            await ws.send_bytes(b"\x04\x05\x06")
            assert json.loads((await text(ws))[4:])[0] == "message-back"
            assert (await ws.receive()).data == b"\x01\x02\x03"
            assert (await ws.receive()).data == b"\x04\x05\x06"

    async def test_acknowledgement(self, peer: Peer) -> None:
        async with peer.connected() as ws:
            await ws.send_str('42456["message-with-ack",1,"2",{"3":[false]}]')
            assert await text(ws) == '43456[1,"2",{"3":[false]}]'

    async def test_binary_acknowledgement(self, peer: Peer) -> None:
        async with peer.connected() as ws:
            await ws.send_str('451-789["message-with-ack",{"_placeholder":true,"num":0}]')
            await ws.send_bytes(b"\x01\x02\x03")
            assert await text(ws) == '461-789[{"_placeholder":true,"num":0}]'
            assert (await ws.receive()).data == b"\x01\x02\x03"

    @pytest.mark.parametrize(
        "packet", ["4abc", "42{}", '42abc["message-with-ack",1,"2"]', "42[]", "42[1]", "4"]
    )
    async def test_malformed(self, peer: Peer, packet: str) -> None:
        async with peer.connected() as ws:
            await ws.send_str(packet)
            await closes(ws)
