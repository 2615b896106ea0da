"""Ending an upload alone, and what a client is told when somebody else is at it."""

from quest_backend.storage.records import UploadBusy, UploadRecords
from quest_backend.storage.refusals import Refusal, UploadRefused


class Alone:
    """``records.alone``, with the refusal that a client gets."""

    def __init__(self, records: UploadRecords, upload_id: str) -> None:
        self._inner = records.alone(upload_id)

    async def __aenter__(self) -> None:
        try:
            await self._inner.__aenter__()
        except UploadBusy:
            raise UploadRefused(
                Refusal.CONFLICT, "This upload is being completed or aborted; try again"
            ) from None

    async def __aexit__(self, *problem: object) -> None:
        await self._inner.__aexit__(*problem)  # type: ignore[arg-type]  # passed on as it came
