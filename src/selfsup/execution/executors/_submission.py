"""What a study knows of a job that it handed to a cluster: a ticket, and the journal of the node that runs it.

Both lie under ``running/submitted/``, where every node and every later run can read them.

``<job>.json``
    The ticket, written by the run that submitted the job: executor, the engine's handle, attempts.
``<job>.jsonl``
    The journal, written by the node: one event per line, in the order in which things happened.

A line of the journal begins and ends with a newline, so that one torn by a crash swallows no other.
It is opened for every line, so that the file systems that nodes share show it to others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from selfsup.atomic import replace_file
from selfsup.record.folder import StudyFolder, to_json


@dataclass(frozen=True)
class Ticket:
    """Who runs a job.

    Attributes
    ----------
    executor : str
        Name of the executor that submitted it.
    handle : str
        The engine's name of it.
    attempts : int
        How often it was begun and died.
    losses : int
        How often the machine below it went away.
    """

    executor: str
    handle: str
    attempts: int = 0
    losses: int = 0


class Submission:
    """Ticket and journal of one job of a study."""

    def __init__(self, folder: StudyFolder, job_id: str) -> None:
        self.job_id = job_id
        self._ticket = folder.submitted / f"{job_id}.json"
        self._journal = folder.submitted / f"{job_id}.jsonl"
        self._read = 0

    def begin(self) -> None:
        """Forget what an earlier submission left behind."""
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        self.end()
        self._read = 0

    def write_ticket(self, ticket: Ticket) -> None:
        replace_file(self._ticket, to_json(asdict(ticket)))

    def ticket(self) -> Ticket | None:
        """The ticket; None if the job is not submitted."""
        try:
            return Ticket(**json.loads(self._ticket.read_bytes()))
        except FileNotFoundError:
            return None

    def append(self, event: str, **values: Any) -> None:
        """Add an event to the journal."""
        with open(self._journal, "ab", buffering=0) as file:
            file.write(event_line(event, **values))

    def news(self) -> Iterator[dict[str, Any]]:
        """Events that were not read before."""
        try:
            with open(self._journal, "rb") as file:
                file.seek(self._read)
                content = file.read()
        except FileNotFoundError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            event = read_event(line)
            if event is not None:
                yield event

    def end(self) -> None:
        """Forget the job."""
        self._ticket.unlink(missing_ok=True)
        self._journal.unlink(missing_ok=True)


def event_line(event: str, **values: Any) -> bytes:
    """An event as a line of its own, whatever was written before it."""
    return b"\n" + json.dumps({"event": event, **values}).encode() + b"\n"


def read_event(line: bytes) -> dict[str, Any] | None:
    """The event in a line; None if it is empty, torn, or somebody else's."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def submissions(folder: StudyFolder) -> list[tuple[Submission, Ticket]]:
    """All jobs of a study that have a ticket, with it."""
    found = (Submission(folder, path.stem) for path in sorted(folder.submitted.glob("*.json")))
    return [(submission, ticket) for submission in found if (ticket := submission.ticket()) is not None]
