"""`auth.frames = "v2"` and frames in binary, beside clients that know neither."""

import asyncio
import base64
import binascii
import json
import time
from typing import Any

import pytest
import socketio
from hostile_frames import HAND_WRITTEN, mutations, verdict
from support import TOKENS, Client, Server, headset, new_id
from wire import BINARY, Poller, Wire, metrics, wire_headset, wire_viewer

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.limits import MAX_FRAME_BYTES

pytestmark = pytest.mark.asyncio

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)) * 40 + b"\xff\xd9"
BASE64 = base64.b64encode(JPEG).decode()
# Longer than a headset is throttled and its viewers paced.
APART_S = 0.04


async def watching(tablet: Wire, device_id: str) -> None:
    await tablet.send(catalogue.TABLET_CONNECT_HEADSET, device_id)
    await tablet.gets(catalogue.ON_HEADSET_CONNECTED)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(BASE64, id="base64"),
        pytest.param(JPEG, id="binary"),
        pytest.param("data:image/jpeg;base64," + BASE64, id="data URI"),
    ],
)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_each_viewer_gets_its_own_form(
    server: Server, sent: str | bytes, transport: str
) -> None:
    """The official Python client as headset; an old and a new viewer at the same time."""
    async with (
        headset(server, transports=[transport]) as quest,
        wire_viewer(server, quest.identity) as old,
        Wire(server, DeviceType.TABLET, frames="v2") as new,
    ):
        await watching(new, quest.identity)
        for seq in (1, 2, 3):
            before = time.time() * 1000
            await quest.send(catalogue.HEADSET_FRAME, sent)
            (text,) = await old.gets(catalogue.ON_HEADSET_FRAME_UPDATED)
            device_id, number, sent_at_ms, jpeg = await new.gets(catalogue.ON_HEADSET_FRAME)
            assert text == (BASE64 if isinstance(sent, bytes) else sent)
            assert (device_id, number, jpeg) == (quest.identity, seq, JPEG)
            assert before - 1 <= sent_at_ms <= time.time() * 1000
            await asyncio.sleep(APART_S)
        # Each got the one form only, and the headset neither.
        assert not [one for one in await old.settled() if b"frame" in one]
        assert not [one for one in await new.settled() if b"frame" in one]
        await quest.settled()
        assert not [name for name, _ in quest.events if "frame" in name]


async def test_one_viewer_tells_many_headsets_apart(server: Server) -> None:
    async with wire_headset(server) as first, wire_headset(server) as second:
        both = [first.identity, second.identity]
        async with wire_viewer(server, *both, frames="v2") as viewer:
            for quest in (first, second, first):
                await quest.binary_event(catalogue.HEADSET_FRAME, quest.identity.encode())
                device_id, *_, jpeg = await viewer.gets(catalogue.ON_HEADSET_FRAME)
                assert (device_id, jpeg) == (quest.identity, quest.identity.encode())
                await asyncio.sleep(APART_S)


async def test_what_is_no_base64_never_reaches_new_viewers(server: Server) -> None:
    async with (
        wire_headset(server) as quest,
        wire_viewer(server, quest.identity) as old,
        Wire(server, DeviceType.TABLET, frames="v2") as new,
    ):
        await watching(new, quest.identity)
        dropped = (await metrics(server))["turing_frames_dropped_total"]
        bad = ["hello", "ab cd", "/9j/*AAAA", "data:text/html,abcd", "é", "=", "/9j/AA=A"]
        for text in bad:
            await quest.send(catalogue.HEADSET_FRAME, text)
            assert await old.gets(catalogue.ON_HEADSET_FRAME_UPDATED) == [text]
            await asyncio.sleep(APART_S)
        await quest.send(catalogue.HEADSET_FRAME, BASE64)
        came = await new.until(lambda _, payload: b"frame" in payload)
        assert json.loads(came[1][4:])[:3] == ["on-headset-frame", quest.identity, len(bad) + 1]
        assert await new.message() == (BINARY, JPEG)
        assert (await metrics(server))["turing_frames_dropped_total"] == dropped + len(bad)
        assert await quest.errors() == []


@pytest.mark.parametrize(
    "packet",
    [
        b'451-["headset-frame",{"_placeholder":true,"num":1}]',
        b'451-["headset-frame",{"_placeholder":true,"num":-1}]',
        b'451-["headset-frame",{"_placeholder":true,"num":"0"}]',
        b'451-["headset-frame",[{"_placeholder":true,"num":0}]]',
        b'451-["headset-frame",{"a":{"_placeholder":true,"num":0}}]',
        b'451-["headset-frame"]',
        b'451-["headset-frame",null,{"_placeholder":true,"num":0}]',
        b'451-["headset-frame",""]',
        b'42["headset-frame",{"_placeholder":true,"num":0}]',
        b'450-["headset-frame",{"_placeholder":true,"num":0}]',
        b'451-{"headset-frame":1}',
        b"451-",
        b'45["headset-frame",{"_placeholder":true,"num":0}]',
        b'4599-["headset-frame",{"_placeholder":true,"num":0}]',
    ],
)
async def test_malformed_binary_events_reach_nobody(server: Server, packet: bytes) -> None:
    async with (
        wire_headset(server) as quest,
        wire_viewer(server, quest.identity, frames="v2") as viewer,
    ):
        await quest.text(packet)
        await quest.binary(JPEG)
        for _ in range(7 if packet.startswith(b"4599") else 0):  # as many as are taken
            await quest.binary(JPEG)
        codes = await quest.errors()
        assert codes
        assert set(codes) <= {"INVALID_FRAME_DATA", "INVALID_INPUT"}
        await quest.binary_event(catalogue.HEADSET_FRAME, JPEG)
        came = await viewer.until(lambda _, payload: b"frame" in payload)
        assert json.loads(came[1][4:])[2] == 1


@pytest.mark.parametrize("size", [0, MAX_FRAME_BYTES + 1])
async def test_binary_frames_of_a_wrong_size(server: Server, size: int) -> None:
    async with (
        wire_headset(server) as quest,
        wire_viewer(server, quest.identity) as viewer,
    ):
        await quest.binary_event(catalogue.HEADSET_FRAME, b"x" * size)
        (error,) = await quest.gets(catalogue.ERROR)
        assert error["code"] == "INVALID_FRAME_DATA"
        largest = b"x" * MAX_FRAME_BYTES
        await quest.binary_event(catalogue.HEADSET_FRAME, largest)
        (text,) = await viewer.gets(catalogue.ON_HEADSET_FRAME_UPDATED)
        assert text == base64.b64encode(largest).decode()


@pytest.mark.parametrize("frames", ["v1", "V2", 2, None, True, ["v2"], {"v2": 1}])
async def test_any_other_wish_is_an_old_viewer(server: Server, frames: Any) -> None:
    async with (
        wire_headset(server) as quest,
        wire_viewer(server, quest.identity, frames=frames) as viewer,
    ):
        await quest.send(catalogue.HEADSET_FRAME, BASE64)
        assert await viewer.gets(catalogue.ON_HEADSET_FRAME_UPDATED) == [BASE64]


async def test_new_viewers_over_polling(server: Server) -> None:
    async with (
        wire_headset(server) as quest,
        wire_viewer(server, quest.identity) as witness,
        Poller(server, frames="v2") as viewer,
    ):
        await viewer.send(catalogue.TABLET_CONNECT_HEADSET, quest.identity)
        await viewer.until('42["on-headset-connected"')
        for number in range(3):
            await quest.binary_event(catalogue.HEADSET_FRAME, JPEG + b"%d" % number)
            await witness.gets(catalogue.ON_HEADSET_FRAME_UPDATED)
            await asyncio.sleep(APART_S)
        packets = [one for one in await viewer.poll() if "frame" in one or one.startswith("b")]
        head, attachment = packets
        assert json.loads(head.removeprefix("451-"))[:3] == ["on-headset-frame", quest.identity, 3]
        assert base64.b64decode(attachment[1:]) == JPEG + b"2"


async def test_the_python_client_gets_bytes(server: Server) -> None:
    async with Client(server, DeviceType.HEADSET) as quest:
        await quest.ask(catalogue.HEADSET_IDENTIFY, catalogue.ON_HEADSET_CONNECTED, quest.identity)
        viewer = socketio.AsyncSimpleClient()
        token = TOKENS.issue(new_id("viewer"), DeviceType.TABLET)
        await viewer.connect(server.url, auth={"token": token, "frames": "v2"}, wait_timeout=10)
        await viewer.emit(catalogue.TABLET_LOCK_DEVICE.name, quest.identity)
        while (await viewer.receive(5))[0] != catalogue.ON_DEVICE_LOCKED.name:
            pass
        await quest.send(catalogue.HEADSET_FRAME, JPEG)
        while (event := await viewer.receive(5))[0] != catalogue.ON_HEADSET_FRAME.name:
            pass
        assert event[1:3] == [quest.identity, 1]
        assert event[4] == JPEG
        await viewer.disconnect()


def picture(frame: str) -> bytes | None:
    """What a new viewer must get for a text frame; None for nothing."""
    if frame.startswith("data:"):
        head, _, frame = frame.partition(",")
        if not head.endswith(";base64"):
            return None
    try:
        return (
            binascii.a2b_base64(frame.replace("\r", "").replace("\n", ""), strict_mode=True) or None
        )
    except ValueError:
        return None


async def test_of_hostile_frames_only_base64_reaches_new_viewers(unpaced: Server) -> None:
    packets = [one for one in [*HAND_WRITTEN, *mutations(13, 3000)] if verdict(one)[0] is not None]
    shown = 0
    async with (
        wire_headset(unpaced) as quest,
        wire_viewer(unpaced, quest.identity, frames="v2") as viewer,
    ):
        for packet in packets:
            frame, _ = verdict(packet)
            assert frame is not None
            await quest.text(packet)
            jpeg = picture(frame)
            if jpeg is not None:
                assert (await viewer.gets(catalogue.ON_HEADSET_FRAME))[3] == jpeg, packet[:200]
                shown += 1
        assert await quest.errors() == []
        assert not [text for text in await viewer.settled() if b"frame" in text]
    assert 0.1 * len(packets) < shown < 0.9 * len(packets)
