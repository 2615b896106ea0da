"""What a job says: which work, on what, and how often it was tried."""

from typing import Any

from taskiq import TaskiqMessage

from quest_backend.jobs.bucket import StoredRecording

SCORE, REFRESH = "qa.score", "qa.refresh"
_ATTEMPTS = "attempts"
_NAME = "name"


def score_message(found: StoredRecording | None, session_id: str) -> TaskiqMessage:
    """Score a recording: as it was ``found``, or as it will be when the job runs."""
    files = found.written() if found is not None else None
    return _message(SCORE, session_id, {"session_id": session_id, "files": files})


def refresh_message(refresh_id: str, after: str) -> TaskiqMessage:
    """Go over the bucket from the folder behind ``after`` on ('' for the first)."""
    name = f"refresh:{refresh_id}:{after}"
    return _message(REFRESH, name, {"refresh_id": refresh_id, "after": after})


def _message(task: str, name: str, arguments: dict[str, Any]) -> TaskiqMessage:
    return TaskiqMessage(
        # The same for the same work, so that it waits once for a later time.
        task_id=name,
        task_name=task,
        labels={_NAME: name},
        args=[],
        kwargs=arguments,
    )


def name_of(message: TaskiqMessage) -> str:
    """What the job is called: the same for the same work."""
    return str(message.labels[_NAME])


def attempts_of(message: TaskiqMessage) -> int:
    """How often it has failed."""
    return int(message.labels.get(_ATTEMPTS, 0))


def again(message: TaskiqMessage, attempts: int) -> TaskiqMessage:
    """The same work, after ``attempts`` failures."""
    labels = {**message.labels, _ATTEMPTS: attempts}
    return message.model_copy(update={"labels": labels})
