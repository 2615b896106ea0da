"""An upload client for headsets, tools and scripts: parallel parts, resumed after a crash.

Example::

    async with UploadClient("http://lab:3200", token=token) as client:
        done = await client.upload(Path("recording.mp4"), timestamp="20260206_143052",
                                   file_type=FileType.VIDEO)
        print(done.key, done.etag)
"""

from quest_backend.client.http import UploadError
from quest_backend.client.uploads import UploadClient, Uploaded
from quest_backend.protocol.recordings import FileType

__all__ = ["FileType", "UploadClient", "UploadError", "Uploaded"]
