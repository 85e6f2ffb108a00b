"""The results of an evaluation, as `report.json` stores them."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict

from training.evaluation.method import Method
from training.metrics.bootstrap import Estimate
from training.metrics.calibration import CoveragePoint, ReliabilityBin

Subset = Literal["all", "least_certain", "fell_back", "no_category"]


class Result(BaseModel):
    """Base class of all results: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodScores(Result):
    """The means of all scores of a method over pictures; `training.metrics.color.scores` defines them.

    `psnr_gain` is PSNR minus that of gray, `delta_e_ratio` ΔE00 over that of gray, `colorfulness_ratio` is over that of the truth.
    The distance of the colorfulness to that of the truth has two published definitions: `colorfulness_of_means` is the distance of
    the means, `colorfulness_by_picture` the mean of the distances. `edge_bleeding` is 1 - near / far.
    """

    method: Method
    psnr: Estimate
    ssim: Estimate
    delta_e: Estimate
    ab_mae: Estimate
    ab_auc: Estimate
    colorfulness: Estimate
    edge_near: Estimate
    edge_far: Estimate
    psnr_gain: Estimate
    delta_e_ratio: Estimate
    colorfulness_ratio: Estimate
    colorfulness_of_means: Estimate
    colorfulness_by_picture: Estimate
    edge_bleeding: Estimate


class Difference(Result):
    """The mean ΔE00 of `method` minus that of `baseline`, on a subset of the pictures."""

    method: Method
    baseline: Method
    pictures: Subset = "all"
    delta_e: Estimate


class CategoryResult(Result):
    """The scores of the pictures of a category, and differences in mean ΔE00."""

    name: str
    pictures: int
    methods: list[MethodScores]
    routed_minus_gray: Estimate
    routed_minus_general: Estimate
    routed_minus_oracle: Estimate

    def scores(self, name: str) -> MethodScores:
        """The scores of a method of the evaluated bundle."""
        return _find(self.methods, Method(name=name))


class RobustnessResult(Result):
    """The scores of the routed output on a variation of the pictures, as old prints have them (`training.evaluation.robustness`).

    `ab_error` is the mean distance from the true ab over that of gray, `chroma_ratio` the chroma over the truth's. `frame_chroma`
    is the mean chroma in an added border, `blotched` the share of blotched pictures among those with even regions. Of the pictures
    of no category of the bundle, `confident_wrong` is the share that did not fall back; None if there are none.
    """

    variation: str
    ab_error: Estimate
    chroma_ratio: Estimate
    top1: Estimate
    fell_back: float
    confident_wrong: float | None = None
    frame_chroma: float | None
    blotched: float | None


class Confusion(Result):
    """Counts of pictures, with a row for each true category and a column for each predicted one."""

    categories: list[str]
    counts: list[list[int]]


class TopErrors(NamedTuple):
    """The shares of pictures whose category is not the most probable, and not among the three most probable."""

    top1: float
    top3: float


class RouterResult(Result):
    """The router of a bundle, on the pictures whose category the bundle has. `bundle` is empty for the evaluated one."""

    bundle: str
    threshold: float
    pictures: int
    top1: Estimate
    top3: Estimate
    fell_back: float
    calibration_error: float
    reliability: list[ReliabilityBin]
    coverage_accuracy: list[CoveragePoint]
    accepted_risk: float
    threshold_for_risk: float | None
    errors: dict[str, TopErrors]
    confusion: Confusion


class DistributionResult(Result):
    """The Jensen-Shannon divergence of predicted colors from true ones, and histograms of chroma."""

    method: Method
    divergence: float
    by_category: dict[str, float]
    chroma: list[float]
    true_chroma: list[float]


class MethodValue(Result):
    """One number of a method."""

    method: Method
    value: float


class FeatureDistance(Result):
    """Distances between colorized and true pictures over the features of a network, which `name` describes."""

    name: str
    distances: list[MethodValue]


class JudgeScores(Result):
    """The probabilities that a judge assigns to the true class of pictures colorized by a method (paper 004, section 2.5.2).

    `best` is the number of pictures on which the method has the highest one; None for methods that do not compete. `accuracy` is
    the share of correctly classified pictures; the gains are over gray.
    """

    method: Method
    mean: float
    median: float
    sd: float | None
    best: int | None
    accuracy: float
    gain: Estimate
    confidence_gain: Estimate


class ClassScores(Result):
    """The judge's scores of the pictures of a class, by method."""

    name: str
    methods: list[Method]
    scores: list[list[float]]


class TrainingOverlap(Result):
    """The sets on which a bundle was trained, and how many pictures it shares with the judge; None if unknown."""

    bundle: str
    trained_on: list[str] | None
    shared_with_judge: int | None


class JudgeResult(Result):
    """The scores of a judge, and its training data, which include `known_pictures` of the evaluated ones; None if unknown."""

    judge: str
    pictures: int
    skipped: int
    methods: list[JudgeScores]
    by_class: list[ClassScores]
    trained_on: list[str]
    known_pictures: int | None
    overlaps: list[TrainingOverlap]

    def scores(self, name: str) -> JudgeScores:
        """The scores of a method of the evaluated bundle."""
        return _find(self.methods, Method(name=name))


class ClassifierErrors(Result):
    """The errors of a trained classifier, for paper 003's table I."""

    run: str
    backbone: str
    pictures: int
    errors: TopErrors
    by_category: dict[str, TopErrors]


class Sample(Result):
    """A picture of the report: its name, and how it was routed."""

    name: str
    caption: str


class Report(Result):
    """All results of an evaluation. `others` maps the names of other bundles to their labels."""

    bundle: str
    others: dict[str, str]
    data: str
    sets: dict[str, int]
    pictures: int
    methods: list[MethodScores]
    differences: list[Difference]
    between_bundles: list[Difference]
    categories: list[CategoryResult]
    experts: dict[str, str]
    cross_category: dict[str, dict[str, float]]
    routers: list[RouterResult]
    distributions: list[DistributionResult]
    feature_distances: list[FeatureDistance]
    robustness: list[RobustnessResult] = []
    judge: JudgeResult | None = None
    classifiers: list[ClassifierErrors] = []
    samples: list[Sample] = []
    made_with: dict[str, str] = {}

    def scores(self, name: str) -> MethodScores:
        """The scores of a method of the evaluated bundle."""
        return _find(self.methods, Method(name=name))

    def difference(self, name: str, baseline: str, pictures: Subset = "all") -> Estimate:
        """The difference in mean ΔE00 between two methods of the evaluated bundle."""
        wanted = Method(name=name), Method(name=baseline), pictures
        return next(row.delta_e for row in self.differences if (row.method, row.baseline, row.pictures) == wanted)

    @property
    def router(self) -> RouterResult | None:
        """The router of the evaluated bundle; None if it has none of the categories."""
        return next((router for router in self.routers if not router.bundle), None)

    def rounded(self) -> "Report":
        """The report with numbers rounded to five decimal places."""
        return Report.model_validate(_rounded(self.model_dump()))

    def to_json(self) -> str:
        """The report as JSON, with numbers rounded to five decimal places."""
        return self.rounded().model_dump_json(indent=1) + "\n"


Scores = TypeVar("Scores", MethodScores, JudgeScores)


def _find(rows: Sequence[Scores], method: Method) -> Scores:
    return next(row for row in rows if row.method == method)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
