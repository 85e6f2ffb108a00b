"""The blind survey at `/survey`, where one is served: its page, questions, pictures and votes. It asks for no key."""

import asyncio
from functools import cache
from html import escape
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from app.errors import ServiceError, documented
from app.routes.page import POLICY, WEB
from app.survey import Question, Survey

router = APIRouter(prefix="/survey", tags=["survey"])

# In a header: addresses are written into the logs of whatever stands before the server
Voter = Annotated[
    str,
    Header(
        alias="X-Survey-Voter",
        pattern=r"^[0-9a-f]{32}$",
        description="a random number, 32 hexadecimal digits, that the browser keeps",
    ),
]
FRESH = {"Cache-Control": "no-store"}


class Asked(BaseModel):
    """What is left to ask somebody."""

    title: str
    total: int = Field(description="questions of the whole survey")
    questions: list[Question] = Field(description="those that are not answered, in this person's order")


class Vote(BaseModel):
    """An answer."""

    model_config = ConfigDict(extra="forbid")

    question: str
    choice: str = Field(description="a picture of the question; or `real` or `coloured`")


@router.api_route("", methods=["GET", "HEAD"], include_in_schema=False)
async def page(request: Request) -> HTMLResponse:
    card = request.app.state.survey.card
    return HTMLResponse(_page(card.id, card.title), headers={"Content-Security-Policy": POLICY, **FRESH})


@router.get("/questions", responses=documented("bad-request", "busy"))
async def questions(request: Request, response: Response, voter: Voter) -> Asked:
    """What is left to ask this person."""
    survey: Survey = request.app.state.survey
    left = await asyncio.to_thread(survey.asked, voter)
    response.headers.update(FRESH)
    return Asked(title=survey.card.title, total=len(survey.questions), questions=left)


@router.get("/pictures/{name}", response_class=Response, responses=documented("not-found"))
async def picture(request: Request, name: str) -> Response:
    """A picture of a question. Its headers say nothing of when or in which order it was made."""
    survey: Survey = request.app.state.survey
    if (content := survey.pictures.get(name)) is None:
        raise ServiceError("not-found", f"there is no picture {name!r} in this survey.")
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400, immutable"})


@router.post("/votes", status_code=204, responses=documented("bad-request", "bad-vote", "not-found", "voted", "busy", "no-room"))
async def vote(request: Request, vote: Vote, voter: Voter) -> Response:
    """Answer a question; the first answer counts."""
    survey: Survey = request.app.state.survey
    await asyncio.to_thread(survey.vote, voter, vote.question, vote.choice)
    return Response(status_code=204)


@cache
def _page(survey: str, title: str) -> str:
    """The page of a survey; the file is read once."""
    return (WEB / "survey.html").read_text().replace("SURVEY-ID", survey).replace("SURVEY-TITLE", escape(title))
