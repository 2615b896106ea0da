"""Plausible unit costs, for tests of the model of docs/scaling.md."""

from scaling.units import Cost, Units

UNITS = Units(
    node_idle_us_per_s=5000, node_mib=130, connection_us_per_s=10, connection_kib=9,
    headset_kib=12, join_us=900, join_state_us=90, join_elsewhere_us=100, telemetry_us=150,
    telemetry_state_us=10, telemetry_state_commands=4, telemetry_state_bytes=700,
    telemetry_shown_us=5, telemetry_shown_bytes=900, telemetry_elsewhere_us=12,
    telemetry_bus_us=2, telemetry_bus_bytes=800, frame_in=Cost(30, 0.5), frame_check=Cost(20, 0.2),
    frame_out=Cost(10, 0.4), frame_publish=Cost(20, 0.4), frame_receive=Cost(20, 0.4),
    bus_frame=Cost(10, 0.6), bus_frame_overhead_bytes=60, viewer_kib=30,
    list_bytes_per_device=140, list_us_per_kb=0.5, scrape_us_per_device=30, upload_us=20_000,
    presign_us_per_part=3, upload_requests=4, upload_requests_per_part=1, upload_state_commands=20,
    qa_cpu_s=0.4, qa_get_requests=8,
)  # fmt: skip
