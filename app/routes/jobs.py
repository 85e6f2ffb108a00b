"""`/v1/jobs`: several pictures in the background."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.batches.results import ZIP_HEADERS
from app.batches.uploads import read_items
from app.dependencies import BundleDep, JobOptionsDep, JobsDep
from app.errors import PROBLEM_TYPES, ServiceError, problem_examples
from app.jobs.folder import JobFolder
from app.jobs.queue import JobQueue
from app.jobs.results import job_archive, read_file
from app.jobs.webhooks import check_webhook
from app.openapi import event_stream_example
from app.policy import Cost, policy
from app.ranges import partial_response
from app.routes.batch import EXPECTED, FILES_BODY, PROBLEMS, ZIP_RESPONSE, Archive, Files
from app.schemas import ItemEvent, JobStatus
from models.decoders import format_of
from models.imaging import WRITES

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

POLL = 0.2  # seconds between two looks at the progress of a job, for its events

Result = TypeVar("Result")

_PROBLEMS = ("bad-option", "not-found", "unauthorized", "jobs-disabled")
_PLACES = ("too-many-requests", "overloaded")
_PARTIAL: dict[int | str, dict[str, object]] = {
    206: {"description": "the part that `Range` asks for"},
    304: {"description": "the client has it already: `If-None-Match`"},
}
_LINKS = {
    name: {"operationRef": f"#/paths/~1v1~1jobs~1{{id}}{path}/{method}", "parameters": {"id": "$response.body#/id"}}
    for name, path, method in (
        ("status", "", "get"),
        ("events", "~1events", "get"),
        ("result", "~1result", "get"),
        ("cancel", "~1cancel", "post"),
        ("delete", "", "delete"),
    )
}


def _queue(jobs: JobsDep) -> JobQueue:
    """The job queue of this server; an error if jobs are disabled."""
    if jobs is None:
        raise ServiceError("jobs-disabled", PROBLEM_TYPES["jobs-disabled"].example)
    return jobs


QueueDep = Annotated[JobQueue, Depends(_queue)]


async def _in_folder(work: Callable[..., Result], *arguments: object) -> Result:
    """The result of reading the folder of a job in a thread; an error if the job was deleted meanwhile."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except FileNotFoundError as error:
        raise ServiceError("not-found", "the job was just deleted.") from error


async def _job(request: Request, jobs: QueueDep, id: str) -> JobFolder:
    """The job with this id; an error if this API key has none."""
    job = await asyncio.to_thread(jobs.find, id, request.scope.get("key"))
    if job is None:
        raise ServiceError("not-found", f"there is no job {id!r}: it has expired, was deleted, or never existed.")
    return job


JobDep = Annotated[JobFolder, Depends(_job)]


@router.post(
    "",
    status_code=202,
    responses={
        202: {"links": _LINKS},
        **problem_examples(*PROBLEMS, "idempotency-key-reused", "insufficient-storage", "quota-exceeded", "jobs-disabled"),
    },
    openapi_extra=FILES_BODY,
)
@policy(cost=Cost.BATCH, expects=EXPECTED)
async def create(
    request: Request,
    response: Response,
    jobs: QueueDep,
    bundle: BundleDep,
    options: JobOptionsDep,
    files: Files = None,
    archive: Archive = None,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=255, description="a request repeated with the same key creates one job")
    ] = None,
) -> JobStatus:
    """Store pictures, answer at once, and colorize them in the background. A job survives a crash of the server."""
    (await jobs.engine.header(bundle)).router.check(options.category)
    if options.webhook is not None:
        check_webhook(options.webhook, jobs.settings)
    items = await asyncio.to_thread(read_items, files or (), archive, jobs.settings)
    options.check_names(item.name for item in items)
    job = await jobs.add(items, options, request.scope.get("key"), bundle, idempotency_key)
    response.headers["Location"] = f"/v1/jobs/{job.card.id}"
    return await _status(jobs, job)


@router.get("/{id}", responses=problem_examples(*_PROBLEMS))
async def status(jobs: QueueDep, job: JobDep) -> JobStatus:
    """Return the progress of a job."""
    return await _status(jobs, job)


@router.get(
    "/{id}/events",
    response_class=EventSourceResponse,
    responses={
        200: {"content": {"text/event-stream": {"example": event_stream_example()}}},
        **problem_examples(*_PROBLEMS, *_PLACES),
    },
)
@policy(cost=Cost.DOWNLOAD)
async def events(
    jobs: QueueDep, job: JobDep, last_event_id: Annotated[str | None, Header(description="of the last received event")] = None
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: `item` for every finished item, in their order, and `end` with the status of the job.

    The id of an event is the index of its item, so that an interrupted connection can continue after `Last-Event-ID`, on any
    replica.
    """
    is_index = last_event_id is not None and last_event_id.isdecimal() and len(last_event_id) < 10
    index = int(last_event_id or 0) + 1 if is_index else 0
    yield ServerSentEvent(retry=1000, comment="a job")
    while not jobs.engine.draining:
        deleted, cancelled = await asyncio.to_thread(lambda: (job.deleted, job.cancelled))
        if deleted:
            return
        complete = cancelled or index >= len(job.card.names)
        while index < len(job.card.names):
            record = await asyncio.to_thread(job.record, index)
            if record is not None:
                data = ItemEvent(index=index, record=record)
                yield ServerSentEvent(event="item", id=str(index), raw_data=data.model_dump_json(exclude_none=True))
            elif not complete:
                await asyncio.sleep(POLL)
                break
            index += 1
        if complete:
            end = await _status(jobs, job)
            yield ServerSentEvent(event="end", id=str(index), raw_data=end.model_dump_json(exclude_none=True))
            return


@router.head("/{id}/result", include_in_schema=False)
@router.get(
    "/{id}/result",
    response_class=StreamingResponse,
    responses={200: ZIP_RESPONSE, **_PARTIAL, **problem_examples(*_PROBLEMS, "job-unfinished", "range-not-satisfiable", *_PLACES)},
)
@policy(cost=Cost.DOWNLOAD)
async def result(request: Request, jobs: QueueDep, job: JobDep) -> Response:
    """Return the results of a finished job, or the finished items of a cancelled one.

    An interrupted download can be resumed: `Range` and `If-Range` with the ETag.
    """
    _refuse_unfinished(await _status(jobs, job))
    archive = await _in_folder(job_archive, job)
    _refuse_unfinished(await _status(jobs, job))  # a record may have turned out to be damaged
    return partial_response(request, archive.etag, archive.size, archive.read, "application/zip", ZIP_HEADERS)


@router.head("/{id}/result/{index}", include_in_schema=False)
@router.get(
    "/{id}/result/{index}",
    response_class=Response,
    responses={
        200: {"description": "the colorized picture", "content": {media: {} for media in WRITES.values()}},
        **_PARTIAL,
        **problem_examples(*_PROBLEMS, "range-not-satisfiable", *_PLACES),
    },
)
@policy(cost=Cost.DOWNLOAD)
async def item_result(
    request: Request, job: JobDep, index: Annotated[int, Path(description="of the item in its job, from 0")]
) -> Response:
    """Return one output of a job, as soon as it is finished. An interrupted download can be resumed, as that of all results."""
    record = await _in_folder(job.record, index) if 0 <= index < len(job.card.names) else None
    if record is None or record.decision is None:
        raise ServiceError("not-found", f"the job has no output number {index}: the item is not finished, or has a problem.")
    output = job.output(index)
    found, media_type = await _in_folder(lambda: (output.stat(), _media_type(output)))
    size = found.st_size if record.size is None else record.size
    etag = f'"{found.st_mtime_ns:x}-{size:x}"'
    return partial_response(request, etag, size, partial(read_file, output), media_type)


@router.post("/{id}/cancel", responses=problem_examples(*_PROBLEMS))
async def cancel(jobs: QueueDep, job: JobDep) -> JobStatus:
    """Stop a job and keep its finished items. A finished job stays as it is."""
    if (await _status(jobs, job)).expires is None:
        await _in_folder(job.cancel)
    return await _status(jobs, job)


@router.delete("/{id}", status_code=204, responses=problem_examples(*_PROBLEMS))
async def delete(jobs: QueueDep, job: JobDep) -> None:
    """Delete a job with its results, finished or not."""
    await _in_folder(jobs.delete, job)


def _refuse_unfinished(status: JobStatus) -> None:
    if status.expires is None:
        progress = f"{status.done + status.failed} of {status.total} items are finished"
        detail = f"the job is {status.state}: {progress}. Follow its events, or cancel it."
        raise ServiceError("job-unfinished", detail, retry_after=1)


def _media_type(output: FilePath) -> str:
    with output.open("rb") as file:
        return WRITES[format_of(file.read(32)) or "png"]


async def _status(jobs: JobQueue, job: JobFolder) -> JobStatus:
    return await _in_folder(job.status, jobs.settings.job_hours)
