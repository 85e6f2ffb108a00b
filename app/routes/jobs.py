"""`/v1/jobs`: many pictures in the background."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.batch import Answers
from app.errors import ServiceError, documented
from app.job_folder import JobFolder
from app.jobs import Jobs
from app.openapi import EVENTS
from app.parcels import unpack
from app.routes.batch import PARCEL, PROBLEMS, ZIP, Archive, Files
from app.schemas import ColorizeQuery, JobEvent, JobStatus
from models.imaging import WRITES

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

LOOK = 0.2  # seconds between two looks for news of a job

Result = TypeVar("Result")

_PROBLEMS = ("bad-option", "not-found", "no-key", "jobs-off")
_LINKS = {
    name: {"operationRef": f"#/paths/~1v1~1jobs~1{{id}}{path}/{method}", "parameters": {"id": "$response.body#/id"}}
    for name, path, method in (
        ("status", "", "get"),
        ("events", "~1events", "get"),
        ("result", "~1result", "get"),
        ("cancel", "~1cancel", "post"),
        ("remove", "", "delete"),
    )
}


def offered(request: Request) -> Jobs:
    """The jobs of this server; an error where it offers none."""
    jobs: Jobs | None = request.app.state.jobs
    if jobs is None:
        raise ServiceError("jobs-off", "this server offers no jobs (CHROMAROUTE_JOBS=0): use /v1/colorize/batch.")
    return jobs


Offered = Annotated[Jobs, Depends(offered)]


async def looked(work: Callable[..., Result], *arguments: object) -> Result:
    """What a look into a job's folder gives; an error where it was removed in this moment."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except FileNotFoundError as error:
        raise ServiceError("not-found", "the job was removed just now.") from error


async def known(request: Request, jobs: Offered, id: str) -> JobFolder:
    """The job of that id; an error before anything was answered where this key has none."""
    job = await asyncio.to_thread(jobs.find, id, request.scope.get("key"))
    if job is None:
        raise ServiceError("not-found", f"there is no job {id!r}: it has expired, was removed, or never was.")
    return job


Known = Annotated[JobFolder, Depends(known)]


@router.post(
    "",
    status_code=202,
    responses={202: {"links": _LINKS}, **documented(*PROBLEMS, "idempotency-key-reused", "no-room", "jobs-off")},
    openapi_extra=PARCEL,
)
async def create(
    request: Request,
    response: Response,
    jobs: Offered,
    query: Annotated[ColorizeQuery, Query()],
    files: Files = None,
    archive: Archive = None,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=255, description="sent again with the same key, a job is made once")
    ] = None,
) -> JobStatus:
    """Take pictures, answer at once, and paint in the background; a job survives a crash of the server."""
    jobs.engine.ensemble.bundle.router.check(query.options().category)
    items = await asyncio.to_thread(unpack, files or (), archive, jobs.settings)
    job = await jobs.add(items, query, request.scope.get("key"), idempotency_key)
    response.headers["Location"] = f"/v1/jobs/{job.card.id}"
    return await _status(jobs, job)


@router.get("/{id}", responses=documented(*_PROBLEMS))
async def status(jobs: Offered, job: Known) -> JobStatus:
    """How far a job is."""
    return await _status(jobs, job)


@router.get(
    "/{id}/events",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {"example": EVENTS}}}, **documented(*_PROBLEMS)},
)
async def events(
    jobs: Offered, job: Known, last_event_id: Annotated[str | None, Header(description="of the last event that came")] = None
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: `picture` for every finished one, in their order, and `end`, each with how far the job is.

    The id of an event is the picture's index, so that a dropped connection goes on behind `Last-Event-ID`, here or at another
    replica.
    """
    known_id = last_event_id is not None and last_event_id.isdecimal() and len(last_event_id) < 10
    told = int(last_event_id or 0) + 1 if known_id else 0
    yield ServerSentEvent(retry=1000, comment="a job")
    while not jobs.engine.draining:
        gone, cancelled = await asyncio.to_thread(lambda: (job.removed, job.cancelled))
        if gone:
            return
        over = cancelled or told >= len(job.card.names)
        while told < len(job.card.names):
            record = await asyncio.to_thread(job.record, told)
            if record is not None:
                data = JobEvent(index=told, record=record)
                yield ServerSentEvent(event="picture", id=str(told), raw_data=data.model_dump_json(exclude_none=True))
            elif not over:
                await asyncio.sleep(LOOK)
                break
            told += 1
        if over:
            end = await _status(jobs, job)
            yield ServerSentEvent(event="end", id=str(told), raw_data=end.model_dump_json(exclude_none=True))
            return


@router.get("/{id}/result", response_class=StreamingResponse, responses={200: ZIP, **documented(*_PROBLEMS, "job-unfinished")})
async def result(jobs: Offered, job: Known) -> StreamingResponse:
    """The answers of a job that is finished, or of a cancelled one what was painted."""
    found = await _status(jobs, job)
    if found.state not in ("finished", "cancelled"):
        detail = f"the job is {found.state}: {found.done + found.failed} of {found.total} pictures are finished. Follow its events."
        raise ServiceError("job-unfinished", detail, retry_after=1)
    headers = {"Content-Disposition": 'attachment; filename="coloured.zip"'}
    return StreamingResponse(_zipped(job), media_type="application/zip", headers=headers)


@router.get(
    "/{id}/result/{index}",
    response_class=Response,
    responses={
        200: {"description": "the picture in colour", "content": {media: {} for media in WRITES.values()}},
        **documented(*_PROBLEMS),
    },
)
async def picture(job: Known, index: Annotated[int, Path(description="of the picture in its job, from 0")]) -> Response:
    """One answer of a job, as soon as it is there."""
    record = await looked(job.record, index) if 0 <= index < len(job.card.names) else None
    if record is None or record.decision is None:
        raise ServiceError("not-found", f"the job has no answer number {index}: it is not painted yet, or had a problem.")
    content = await looked(job.painted, index)
    return Response(content, media_type=_media_type(content))


@router.post("/{id}/cancel", responses=documented(*_PROBLEMS))
async def cancel(jobs: Offered, job: Known) -> JobStatus:
    """Paint no more of a job, and keep what was painted. One that is over stays as it is."""
    if (await _status(jobs, job)).expires is None:
        await looked(job.cancel)
    return await _status(jobs, job)


@router.delete("/{id}", status_code=204, responses=documented(*_PROBLEMS))
async def delete(jobs: Offered, job: Known) -> None:
    """Remove a job with its results, whether it is over or not."""
    await looked(jobs.remove, job)


async def _zipped(job: JobFolder) -> AsyncIterator[bytes]:
    """The zip of a job; it breaks off where the job is removed meanwhile, so that nobody takes a part for the whole."""
    answers = Answers()
    for index in range(len(job.card.names)):
        record = await asyncio.to_thread(job.record, index)
        if record is not None:
            content = None if record.output is None else await looked(job.painted, index)
            yield await asyncio.to_thread(answers.add, record, content)
    if job.removed:
        raise ServiceError("not-found", "the job was removed while its result was sent.")
    yield answers.close()


def _media_type(content: bytes) -> str:
    starts = {b"\xff\xd8": "jpeg", b"\x89P": "png", b"RI": "webp", b"II": "tiff"}
    return WRITES[starts[content[:2]]]


async def _status(jobs: Jobs, job: JobFolder) -> JobStatus:
    return await looked(job.status, jobs.settings.job_hours)
