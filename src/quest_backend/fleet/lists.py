"""How often the lists that every client gets may be sent."""

PAUSE_S = 0.3
# A server spends no more than this on them.
SERVER_BYTES_PER_S = 64e6
# Nor does a client's Wi-Fi, which its frames and uploads need: 2 Mbit/s.
CLIENT_BYTES_PER_S = 250e3


def pause_s(list_bytes: float, clients: float) -> float:
    """Seconds from one broadcast of ``list_bytes`` to ``clients`` until the next one may follow."""
    to_all = list_bytes * clients / SERVER_BYTES_PER_S
    to_one = list_bytes / CLIENT_BYTES_PER_S
    return max(PAUSE_S, to_all, to_one)
