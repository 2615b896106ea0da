"""What the store's refusals mean."""

from botocore.exceptions import ClientError

from quest_backend.storage.bodies import ObjectStoreUnavailable


class ObjectStoreFull(ObjectStoreUnavailable):
    """The object store has no room."""


class NoSuchUpload(Exception):  # noqa: N818 - an answer
    """The store knows no such unfinished upload (any more)."""


class PartsRefused(Exception):  # noqa: N818 - an answer
    """The store does not make an object of these parts; the message is its own."""


class SumsDiffer(PartsRefused):
    """The parts are not the bytes that the given checksums are of."""


class BucketError(Exception):
    """The bucket cannot be used; one clear line that says why and what to do."""


def meaning(error: ClientError) -> Exception:
    """``error`` as what callers have to tell apart; itself where that is all."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    message = str(error.response.get("Error", {}).get("Message", code))
    if code == "NoSuchUpload":
        return NoSuchUpload(message)
    if code == "BadDigest":
        return SumsDiffer(
            "checksum: the parts that the store has are other bytes; nothing is lost, compare them "
            "with the x-amz-checksum-crc64nvme of each answer and send again what differs"
        )
    if code in ("InvalidPart", "InvalidPartOrder", "EntityTooSmall", "MalformedXML"):
        return PartsRefused(message)
    if status == 507 or "no space" in message.lower() or "no writable volumes" in message.lower():
        return ObjectStoreFull("the object store has no room")
    if status >= 500 or code in ("SlowDown", "RequestTimeout", "Throttling"):
        return ObjectStoreUnavailable(f"the object store has trouble: {code}")
    return error  # type: ignore[no-any-return]  # botocore publishes no types
