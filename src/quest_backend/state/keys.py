"""Every key in Valkey, its type and lifetime. Documented for operators in ``docs/state.md``."""

DEVICES = "devices"
DEVICE_NAMES = "device_names"
SESSIONS = "sessions"
TABLETS = "tablets"
TABLET_GRACE = "grace:tablets"
HEADSET_GRACE = "grace:headsets"
REVISION = "fleet:revision"

QA_SESSIONS = "qa_sessions"
QA_TOTALS = "qa_totals"


def qa_session(session_id: str) -> str:
    """Hash, no end: what was measured of a recording, and of which version of its files."""
    return f"qa_session:{session_id}"


def device(device_id: str) -> str:
    """Hash, 24 h: the device's state (schema RedisDeviceState and our fields)."""
    return f"device:{device_id}"


def telemetry(device_id: str) -> str:
    """String (JSON), 5 min: its latest telemetry."""
    return f"telemetry:{device_id}"


def history(device_id: str) -> str:
    """Sorted set by Unix ms, 24 h: telemetry samples."""
    return f"telemetry_history:{device_id}"


def history_mark(device_id: str) -> str:
    """String, 5 min: a sample was taken in this window."""
    return f"telemetry_history_mark:{device_id}"


def session(session_id: str) -> str:
    """Hash, 7 days: the session (schema RedisSessionState and our fields)."""
    return f"session:{session_id}"


def session_devices(session_id: str) -> str:
    """Hash, 7 days: ``{deviceId}:{isRecording|frameCount|uploadProgress|uploadStatus}``."""
    return f"session_devices:{session_id}"


def tablet_sessions(identity: str) -> str:
    """Set: ids of the tablet's sessions that are not completed."""
    return f"tablet_sessions:{identity}"


def node(node_id: str) -> str:
    """String, a few heartbeats: this server is alive."""
    return f"node:{node_id}"
