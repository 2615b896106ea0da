"""What the files of deploy/ are held against."""

from fronts import DEPLOY

from quest_backend.settings import Settings

# Every environment variable that the server reads.
SETTINGS = {name.upper() for name in Settings.model_fields}
# From SIGTERM to the end, at most: DRAIN_SECONDS of 5, and 10 s for the rest.
LONGEST_STOP_S = 15


def copied() -> list[str]:
    """What the Dockerfile takes from the repository."""
    found: list[str] = []
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            found += line.split()[1:-1]
    return found
