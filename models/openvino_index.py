"""What the process that makes OpenVINO models tells: the index of their folder, or why there are none."""

from pydantic import BaseModel

INDEX = "index.json"
LOGITS = "logits"  # the name of the operation


class TrunkFiles(BaseModel):
    """A trunk: its model, which returns the taps of these strides, and the probabilities if the classifier reads it."""

    model: str
    taps: list[int]


class ExpertFiles(BaseModel):
    """An expert: its model, the numbers that the model reads as further inputs, the stride of its input, whether hints are its last
    input, and ab of its bins if it predicts a distribution over them, which the operation `LOGITS` computes.
    """

    model: str
    weights: str | None
    stride: int
    reads_hints: bool = False
    bins: list[tuple[float, float]] | None = None


class Index(BaseModel):
    """What a folder contains, and the sha256 of every file."""

    trunks: dict[str, TrunkFiles]
    experts: dict[str, ExpertFiles]
    digests: dict[str, str]


class Failure(BaseModel):
    """Why models could not be made: the name of a `BundleError`, and its message."""

    type: str
    message: str
