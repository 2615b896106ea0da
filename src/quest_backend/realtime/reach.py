"""Messages to headsets and tablets, on whichever node they are."""

from collections.abc import Iterable
from typing import Any

from quest_backend.fleet.devices import Device
from quest_backend.protocol.events import Outbound
from quest_backend.realtime.hub import Hub


async def headsets(hub: Hub, devices: Iterable[Device], event: Outbound, *args: Any) -> list[str]:
    """Send to those that are online, as the store knows them; their ids.

    What is for another node is in its inbox when this returns.

    Raises:
        StoreUnavailable: those of other nodes are not known to get it.
    """
    reached, posts = [], []
    for device in devices:
        here = hub.connections.headset(device.device_id)
        if here is not None:
            hub.outbox.send(here, event, *args)
        elif device.is_online and device.node_id not in ("", hub.nodes.node_id):
            message = {
                "k": "headset",
                "d": device.device_id,
                "sid": device.socket_id,
                "e": event.name,
                "a": args,
            }
            posts.append((device.node_id, message))
        else:
            continue
        reached.append(device.device_id)
    if posts:
        await hub.changes.post(posts)
    return reached


async def tablet(hub: Hub, identity: str, event: Outbound, *args: Any) -> None:
    """Send to every socket of a tablet.

    Raises:
        StoreUnavailable: those of other nodes are not known to get it.
    """
    hub.outbox.send(hub.connections.tablet(identity), event, *args)
    await hub.changes.announce({"k": "tablet", "who": identity, "e": event.name, "a": args})
