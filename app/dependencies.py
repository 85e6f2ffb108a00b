"""What routes depend on: the parts of the application in `app.state`, as annotations for FastAPI."""

from typing import Annotated

from fastapi import Depends, Request

from app.inference.engine import Engine
from app.jobs.queue import JobQueue
from app.metrics import Metrics
from app.survey.store import Survey


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


def _jobs(request: Request) -> JobQueue | None:
    jobs: JobQueue | None = request.app.state.jobs
    return jobs


def _survey(request: Request) -> Survey:
    survey: Survey = request.app.state.survey
    return survey


EngineDep = Annotated[Engine, Depends(_engine)]
MetricsDep = Annotated[Metrics, Depends(_metrics)]
JobsDep = Annotated[JobQueue | None, Depends(_jobs)]
SurveyDep = Annotated[Survey, Depends(_survey)]
