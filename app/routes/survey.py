"""The blind survey at `/survey`: its page, questions, pictures and votes. It needs no API key."""

import asyncio
from functools import cache
from html import escape
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from app.dependencies import SurveyDep
from app.errors import ServiceError, problem_examples
from app.policy import Cost, policy
from app.routes.page import POLICY, WEB
from app.survey.store import Question

router = APIRouter(prefix="/survey", tags=["survey"])

# In a header, because proxies write addresses to their logs
Voter = Annotated[
    str,
    Header(
        alias="X-Survey-Voter",
        pattern=r"^[0-9a-f]{32}$",
        description="a random number of 32 hexadecimal digits, which the browser keeps",
    ),
]
NO_STORE = {"Cache-Control": "no-store"}

_policy = policy(
    requires_key=False,
    cost=Cost.VOTE,
    expects="send the voter, 32 hexadecimal digits, in the header X-Survey-Voter, and a vote as JSON with question and choice.",
)


class RemainingQuestions(BaseModel):
    """The questions that a person has not answered."""

    title: str
    total: int = Field(description="questions of the whole survey")
    questions: list[Question] = Field(description="unanswered ones, in the order for this person")


class Vote(BaseModel):
    """The answer to a question."""

    model_config = ConfigDict(extra="forbid")

    question: str
    choice: str = Field(description="a picture of the question; or `real` or `colorized`")


@router.api_route("", methods=["GET", "HEAD"], include_in_schema=False)
@_policy
async def page(survey: SurveyDep) -> HTMLResponse:
    return HTMLResponse(_page(survey.card.id, survey.card.title), headers={"Content-Security-Policy": POLICY, **NO_STORE})


@router.get("/questions", responses=problem_examples("bad-request", "bad-option", "overloaded"))
@_policy
async def questions(survey: SurveyDep, response: Response, voter: Voter) -> RemainingQuestions:
    """List the questions that this person has not answered."""
    remaining = await asyncio.to_thread(survey.remaining_questions, voter)
    response.headers.update(NO_STORE)
    return RemainingQuestions(title=survey.card.title, total=len(survey.questions), questions=remaining)


@router.get("/pictures/{name}", response_class=Response, responses=problem_examples("not-found"))
@_policy
async def picture(survey: SurveyDep, name: str) -> Response:
    """Return a picture of a question. Its headers do not reveal when or in which order it was made."""
    if (content := survey.pictures.get(name)) is None:
        raise ServiceError("not-found", f"there is no picture {name!r} in this survey.")
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400, immutable"})


@router.post(
    "/votes",
    status_code=204,
    responses=problem_examples(
        "bad-request", "bad-option", "bad-vote", "not-found", "already-voted", "overloaded", "insufficient-storage"
    ),
)
@_policy
async def vote(survey: SurveyDep, vote: Vote, voter: Voter) -> Response:
    """Answer a question; only the first answer counts."""
    await asyncio.to_thread(survey.vote, voter, vote.question, vote.choice)
    return Response(status_code=204)


@cache
def _page(survey: str, title: str) -> str:
    """The HTML page of a survey; the file is read once."""
    return (WEB / "survey.html").read_text().replace("SURVEY-ID", survey).replace("SURVEY-TITLE", escape(title))
