"""What has been sent of a file, beside the file: lines are only ever added, so a crash loses one.

The first line says of which file and upload; each further one is a part that the store has taken.
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO


@dataclass(frozen=True, slots=True)
class Upload:
    """Which upload of which state of the file."""

    server: str
    timestamp: str
    file_type: str
    size: int
    modified_ns: int
    upload_id: str = ""
    key: str = ""
    chunk_bytes: int = 0


class Journal:
    """The journal of one file."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".upload-journal")
        self._file: TextIO | None = None

    def read(self) -> tuple[Upload | None, dict[int, str]]:
        """The upload and the ETags of its sent parts; (None, {}) without a readable journal."""
        parts: dict[int, str] = {}
        upload: Upload | None = None
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            for line in self.path.read_text().splitlines():
                row = json.loads(line)
                if upload is None:
                    upload = Upload(**row)
                else:
                    parts[int(row["part"])] = str(row["etag"])
        return upload, parts

    def begin(self, upload: Upload, parts: dict[int, str]) -> None:
        """Start over with this upload and what is known to be sent of it."""
        self.close()
        draft = self.path.with_name(self.path.name + ".new")
        with draft.open("w") as file:
            file.write(json.dumps(asdict(upload)) + "\n")
            file.writelines(_line(number, etag) for number, etag in parts.items())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        self._file = self.path.open("a")

    def sent(self, number: int, etag: str) -> None:
        """The store has taken a part."""
        if self._file is not None:
            self._file.write(_line(number, etag))
            self._file.flush()

    def close(self) -> None:
        """Keep the journal for the next time."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def done(self) -> None:
        """The file is there: forget."""
        self.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()


def _line(number: int, etag: str) -> str:
    return json.dumps({"part": number, "etag": etag}) + "\n"
