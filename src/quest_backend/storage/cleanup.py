"""What nobody waits for: uploads left unfinished are aborted, progress of direct ones is asked."""

import structlog

from quest_backend.protocol.recordings import PREFIX
from quest_backend.state.versions import NewerRecord
from quest_backend.storage.refusals import UploadRefused
from quest_backend.storage.s3 import NoSuchUpload
from quest_backend.storage.upload_types import Owner
from quest_backend.storage.uploads import Uploads

log = structlog.get_logger()

_CLEANER = Owner("", may_all=True)


async def clean_up(uploads: Uploads, now_ms: int) -> int:
    """Abort every upload that was begun longer ago than uploads may take; how many.

    Also those that the records have never heard of: a lost Valkey must not cost storage for ever.
    """
    before_ms = now_ms - int(uploads.options.expiry_s * 1000)
    aborted = 0
    for upload_id in await uploads.records.open_uploads(before_ms):
        try:
            record = await uploads.records.load(upload_id)
            if record is None:
                await uploads.records.forget(upload_id)
                continue
            await uploads.abort(_CLEANER, upload_id, record.key)
            aborted += 1
        except (UploadRefused, NewerRecord) as refusal:
            log.info("upload_not_expired", upload=upload_id, reason=str(refusal))
    async for left in uploads.store.unfinished(PREFIX):
        if left.begun_at * 1000 < before_ms:
            await uploads.store.abort(left.key, left.upload_id)
            aborted += 1
    if aborted:
        log.info("uploads_expired", count=aborted)
    return aborted


async def poll_progress(uploads: Uploads, interval_s: float) -> None:
    """Ask the store how far the unfinished uploads are; each by one node at a time.

    The more parts an upload has, the less often: a listing is a request per 1,000 parts.
    """
    for upload_id in await uploads.records.open_uploads():
        try:
            record = await uploads.records.load(upload_id)
            if record is None or not record.session_id:
                continue
            pause_s = interval_s * (1 + record.plan.parts // 200)
            if not await uploads.records.claim_poll(upload_id, pause_s * 0.9):
                continue
            await uploads.status(_CLEANER, upload_id, record.key)
        except (UploadRefused, NoSuchUpload, NewerRecord):
            continue  # it has just ended, or a newer server asks
