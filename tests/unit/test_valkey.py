"""Which answers of Valkey are outages."""

import pytest
from redis.exceptions import ExecAbortError, ResponseError

from quest_backend.state.valkey import takes_no_changes


@pytest.mark.parametrize(
    "error",
    [
        ResponseError("NOREPLICAS Not enough good replicas to write."),
        ResponseError(
            "Command # 2 (XADD audit) of pipeline caused error: ('NOREPLICAS Not enough',)"
        ),
        ExecAbortError("Transaction discarded because of: NOREPLICAS Not enough good replicas"),
        ExecAbortError("Transaction discarded because of: READONLY You can't write against a"),
        ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
        ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed"),
        ResponseError("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to"),
    ],
)
def test_a_store_that_takes_nothing_for_now_is_an_outage(error: ResponseError) -> None:
    assert takes_no_changes(error)


@pytest.mark.parametrize(
    "text",
    [
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "Command # 1 (SET name READONLY 1) of pipeline caused error: ERR syntax error",
        "NOSCRIPT No matching script",
        "user_script:3: NOREPLICASX",
    ],
)
def test_a_mistake_of_ours_is_none(text: str) -> None:
    assert not takes_no_changes(ResponseError(text))
