"""Every key in Valkey, its type and lifetime. Documented for operators in ``docs/state.md``."""

DEVICES = "devices"
DEVICE_NAMES = "device_names"
SESSIONS = "sessions"
TABLETS = "tablets"
TABLET_GRACE = "grace:tablets"
HEADSET_GRACE = "grace:headsets"
UPLOADS = "uploads"
REVISION = "fleet:revision"
PAIRED_TABLETS = "paired_tablets"
AUDIT = "audit"
CHANGES = "fleet:changes"
NODES = "nodes"
S3_STATS = "s3_stats"
S3_STATS_LEASE = "s3_stats:lease"
S3_STATS_CHANGES = "s3_stats:changes"

QA_SESSIONS = "qa_sessions"
QA_TOTALS = "qa_totals"
QA_NEWS = "qa_news"
QA_RULES = "qa_rules"

QA_JOBS = "qa_jobs"
QA_WAITING = "qa_waiting"
QA_LATER = "qa_later"
QA_DEAD = "qa_dead"
QA_DEAD_ORDER = "qa_dead_order"
QA_COUNTS = "qa_counts"
QA_REFRESH = "qa_refresh"
QA_REFRESH_LEFT = "qa_refresh_left"


def qa_session(session_id: str) -> str:
    """Hash, no end: what was measured of a recording, and of which version of its files."""
    return f"qa_session:{session_id}"


def qa_review(session_id: str) -> str:
    """Hash, no end: what a person decided on a recording, and on which version of its files."""
    return f"qa_review:{session_id}"


def qa_list(order: str, verdict: str, review: str) -> str:
    """Sorted set, all with score 0: recordings by date, or by their own score."""
    return f"qa_list:{order}:{verdict}:{review}"


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
    """Hash, 7 days: ``{deviceId}:{field}``; fields in docs/state.md."""
    return f"session_devices:{session_id}"


def tablet_sessions(identity: str) -> str:
    """Set: ids of the tablet's sessions that are not completed."""
    return f"tablet_sessions:{identity}"


def node(node_id: str) -> str:
    """String, a few heartbeats: this server is alive."""
    return f"node:{node_id}"


def inbox(node_id: str) -> str:
    """Stream, an hour: what other nodes want of this one."""
    return f"inbox:{node_id}"


def lease(what: str) -> str:
    """String, as long as asked for: the node that does this."""
    return f"lease:{what}"


def tablet(identity: str) -> str:
    """Hash: the tablet's newest socket, its node, and what it watches."""
    return f"tablet:{identity}"


def pairing(code: str) -> str:
    """String, 5 min: the name of the tablet that this code pairs, once."""
    return f"pairing:{code}"


def device_sessions(device_id: str) -> str:
    """Sorted set by Unix ms, 7 days: sessions that the device was put into."""
    return f"device_sessions:{device_id}"


def upload(upload_id: str) -> str:
    """Hash, a day longer than uploads may take: one upload."""
    return f"upload:{upload_id}"


def upload_lock(upload_id: str) -> str:
    """String, 15 s, renewed: somebody completes or aborts this upload."""
    return f"upload_lock:{upload_id}"


def upload_poll(upload_id: str) -> str:
    """String, seconds: a node has just asked the store how far this upload is."""
    return f"upload_poll:{upload_id}"


def upload_folder(folder: str) -> str:
    """Hash, 30 days: whose folder it is, its uploads, what was stored."""
    return f"upload_folder:{folder}"


def session_uploads(session_id: str) -> str:
    """Hash, 7 days: ``{deviceId}|{folder}|{fileType}``: ``size:bytes:state``, and ``rev``."""
    return f"session_uploads:{session_id}"


def upload_span(start: str) -> str:
    """String, 24 h: each of the folders of 300 s from ``start`` is somebody's."""
    return f"upload_span:{start}"


def upload_place(device_id: str, asked: str) -> str:
    """String, 30 days: the folder that this device's recording of this second was given."""
    return f"upload_place:{device_id}:{asked}"


def s3_stats_table(revision: str) -> str:
    """List: the tally of one pass over the bucket, in pieces."""
    return f"s3_stats:table:{revision}"
