"""Rooms, identities, and who leads for a tablet with sockets on several nodes."""

from types import SimpleNamespace
from typing import Any, cast

from quest_backend.protocol.events import DeviceType
from quest_backend.realtime.connections import Connection, Connections, device_room
from quest_backend.realtime.rates import RateWindows

QUEST = "quest_0001"


def connection(sid: str, kind: DeviceType, identity: str) -> Connection:
    client = cast(Any, SimpleNamespace(sid=sid))
    return Connection(client, identity, kind, True, 0.0, RateWindows(1))


def test_room_changes_are_told_for_devices_only() -> None:
    connections, told = Connections(), list[str]()
    connections.room_changed = told.append
    tablet = connection("t1", DeviceType.TABLET, "tablet_0001")
    connections.add(tablet)
    connections.join(tablet, "dashboards")
    assert told == []
    connections.watch("tablet_0001", QUEST)
    connections.unwatch("tablet_0001", QUEST)
    assert told == [QUEST, QUEST]
    connections.join(tablet, device_room(QUEST))
    connections.remove(tablet)
    assert told[2:] == [QUEST, QUEST]


def test_a_headset_that_went_to_another_node_is_nobody_here() -> None:
    connections = Connections()
    headset = connection("h1", DeviceType.HEADSET, QUEST)
    connections.add(headset)
    connections.claim(headset)
    connections.identify(headset, QUEST)
    connections.release(headset)
    assert connections.headset(QUEST) is None
    assert connections.headsets() == []
    assert not connections.room(device_room(QUEST))
    assert headset.device_id == ""
    # Until that one is gone.
    assert connections.claimant(QUEST) is headset
    connections.remove(headset)
    assert connections.by_sid == {}
    assert connections.claims() == {}


def test_the_newest_socket_leads_wherever_it_is() -> None:
    connections = Connections()
    first, second = (connection(sid, DeviceType.TABLET, "tablet_0001") for sid in ("t1", "t2"))
    connections.add(first)
    connections.add(second)
    assert connections.lead_sid(first) == "t2"
    connections.leads["tablet_0001"] = "elsewhere"
    assert connections.lead_sid(first) == connections.lead_sid(second) == "elsewhere"
    connections.remove(first)
    connections.remove(second)
    assert connections.leads == {}
