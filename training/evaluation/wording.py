"""How a report says numbers: a difference within its interval is none, a value has its interval beside it."""

from collections.abc import Mapping, Sequence

Ends = Sequence[float | None]  # a value, and the ends of its interval
NOTHING = "–"

TITLES = {
    "gray": "gray",
    "constant": "constant mean ab",
    "random": "ab of another picture",
    "general": "general expert alone",
    "routed": "routed",
    "soft": "routed, soft",
    "oracle": "oracle: true category",
    "forced": "likeliest category, no threshold",
    "worst": "worst route",
    "best": "best route",
}
DIFFERENCES = {
    "routed - gray": "routed against gray",
    "routed - general": "routed against the general expert alone",
    "routed - oracle": "route regret: routed against the true category's expert",
    "routed - best": "what a perfect choice of expert for each picture would still gain",
    "worst - routed": "what the worst choice would lose",
    "soft - routed": "soft against hard routing",
    "least certain: soft - routed": "soft against hard, on the 20% of which the router is least certain",
    "fell back: general - forced": "the fallback against the likeliest category, on the pictures that fell back",
    "no category: general - forced": "the general expert against the likeliest category, on the pictures of no category",
}


def titled(way: str) -> str:
    """A way's name as it is shown; the ways of other bundles keep their prefix."""
    prefix, separator, own = way.rpartition(": ")
    return f"{prefix}{separator}{TITLES.get(own, own)}"


def sign(each: Ends) -> int:
    """-1 or 1 for a difference, 0 for one that lies within its interval or has none."""
    _, low, high = each
    if low is None or high is None:
        return 0
    return -1 if high < 0 else 1 if low > 0 else 0


def difference(each: Ends, scale: float = 1, unit: str = "") -> str:
    """A difference and its interval, or that there is none."""
    value, low, high = each
    if value is None:
        return NOTHING
    if low is None or high is None:
        return f"not known of one picture ({scale * value:+.2f}{unit})"
    ends = f"({scale * low:+.2f} to {scale * high:+.2f})"
    return f"{scale * value:+.2f}{unit} {ends}" if sign(each) else f"none {ends}"


def interval(each: Ends, form: str = ".2f") -> str:
    """A value and its interval; a dash where there is none."""
    value, low, high = each
    if value is None:
        return NOTHING
    return f"{value:{form}}" if low is None or high is None else f"{value:{form}} ({low:{form}} to {high:{form}})"


def number(value: float | None, form: str = ".2f") -> str:
    """A value; a dash where there is none."""
    return NOTHING if value is None else f"{value:{form}}"


def percent(each: Ends) -> str:
    """A share and its interval."""
    return interval(each, ".1%")


def named(name: str) -> str:
    """What a difference is of."""
    way, _, other = name.partition(" - ")
    whose = "its own general expert" if other == "general" else titled(other)
    return DIFFERENCES.get(name, f"{titled(way)} against {whose}")


def errors(each: Mapping[str, float] | None) -> str:
    """Top-1 and top-3 error."""
    return "" if each is None else f"{each['top1_error']:.3f} / {each['top3_error']:.3f}"
