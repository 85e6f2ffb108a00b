"""The methods that an evaluation compares: baselines, the experts and routes of bundles, and bounds."""

from pydantic import BaseModel, ConfigDict

GRAY, CONSTANT, RANDOM, TRUTH = "gray", "constant", "random", "truth"
GENERAL, ROUTED, SOFT, ORACLE, FORCED, WORST, BEST = "general", "routed", "soft", "oracle", "forced", "worst", "best"

TITLES = {
    GRAY: "gray",
    CONSTANT: "constant mean ab",
    RANDOM: "ab of another picture",
    GENERAL: "general expert alone",
    ROUTED: "routed",
    SOFT: "routed, soft",
    ORACLE: "oracle: true category",
    FORCED: "most probable category, no threshold",
    WORST: "worst route",
    BEST: "best route",
}


class Method(BaseModel):
    """A method of colorizing a picture: its name, and the name of its bundle if that is not the evaluated one.

    Of a bundle: *general* (the expert of the fallback alone), *routed*, *soft*, *oracle* (the expert of the true category),
    *forced* (that of the most probable category, without a threshold), *worst* and *best* (the experts with the largest and the
    smallest ΔE00, which bound every router). Baselines: *gray*, *constant* (the mean ab of all pictures), *random* (the
    ab of another picture).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bundle: str = ""

    def __str__(self) -> str:
        return f"{self.bundle}: {self.name}" if self.bundle else self.name

    @property
    def title(self) -> str:
        """The name that the report shows."""
        title = TITLES.get(self.name, self.name)
        return f"{self.bundle}: {title}" if self.bundle else title
