"""The first page of a report, which a newcomer understands: what won, by how much, where it fails, and pictures that show it."""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image

from training.evaluation.document import Block, Figure, Heading, Points, Table, Text
from training.evaluation.wording import TITLES, Ends, difference, interval, number, percent, sign, titled

Numbers = Mapping[str, Any]


def front_page(found: Numbers, samples: Sequence[tuple[str, Image.Image]]) -> Iterator[Block]:
    """What won, by how much, and where it fails; with pictures that show it."""
    sets = ", ".join(f"{count:,} of {name}" for name, count in found["sets"].items())
    yield Heading(f"{found['bundle']}: does routing pay, and does it look right?", 1)
    yield Text(
        f"{found['pictures']:,} photographs whose colors are known ({sets}) were made gray, colorized again, and compared with the "
        "truth. ΔE00 is the mean color difference as people see it: 1 can hardly be seen, 10 is another color. A difference "
        "that lies within its interval (95%, bootstrap over pictures) is called none; of twenty comparisons that are none, as "
        "of that many categories, one is still called a difference by chance."
    )
    yield Points([*_conclusions(found)])
    yield _headline(found)
    if samples:
        yield Text("Each row: gray as it was sent; routed; the general expert alone; the truth.")
    for index, (caption, image) in enumerate(samples, 1):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=92)
        yield Figure(f"sample-{index}", buffer.getvalue(), caption, "jpeg")


def _conclusions(found: Numbers) -> Iterator[str]:
    ways, differences = found["ways"], found["differences"]
    routed, gray = ways["routed"], ways["gray"]
    yield (
        f"Is it closer to the truth than gray? {_verdict(differences['routed - gray'])} ΔE00 {number(routed['delta_e'][0])} "
        f"instead of {number(gray['delta_e'][0])}: {difference(differences['routed - gray'])}. PSNR against gray's, in dB: "
        f"{difference(routed['psnr_gain'])}. Colorfulness: {number(routed['colorfulness_ratio'][0])} of the truth's."
    )
    by_category = {name: row["routed - general"] for name, row in found["categories"].items()}
    better, worse = (sorted(name for name, each in by_category.items() if sign(each) == wanted) for wanted in (-1, 1))
    yield (
        f"Does routing pay, against the general expert alone? {_verdict(differences['routed - general'])} ΔE00 "
        f"{difference(differences['routed - general'])}. Better in {len(better)} of {len(by_category)} categories "
        f"({', '.join(better) or 'none'}), worse in {len(worse)} ({', '.join(worse) or 'none'}), no difference in the others."
    )
    if "routed" in found["routing"]:
        router = found["routing"]["routed"]
        yield (
            f"Does the router find the category? It is right on {percent(router['top1'])} of the pictures; on "
            f"{percent(router['top3'])} the right one is among its first three. {router['fell_back']:.1%} fell back to the general "
            f"expert. Its confidence is off by {router['calibration_error']:.1%} on average. Being wrong costs, against the true "
            f"category's expert, ΔE00 {difference(differences['routed - oracle'])}."
        )
    yield from _failures(found["categories"])
    if found["semantic"]:
        judged = found["semantic"]["ways"]
        yield (
            f"Does the color help to recognize things? {_verdict(judged['routed']['gain'], more=True)} A judge "
            f"({found['semantic']['judge']}) names {judged['gray']['accuracy']:.1%} of the gray, "
            f"{judged['routed']['accuracy']:.1%} of the colorized and {judged['truth']['accuracy']:.1%} of the true pictures: "
            f"{difference(judged['routed']['gain'], 100, ' points')} against gray."
        )
    for prefix in found["rivals"]:
        each = found["against"][f"{prefix}routed"]["routed"]
        yield f"Is {prefix.removesuffix(': ')} closer to the truth than this bundle? {_verdict(each)} ΔE00 {difference(each)}."


def _failures(categories: Numbers) -> Iterator[str]:
    failing = sorted(name for name, row in categories.items() if sign(row["routed - gray"]) != -1)
    share = {name: row["ways"]["routed"]["delta_e_ratio"][0] for name, row in categories.items()}
    ranked = sorted((name for name in share if share[name] is not None), key=lambda name: -share[name])
    told = f"Where does it fail? It is not closer to the truth than gray in {', '.join(failing) or 'no category'}."
    if len(ranked) >= 6:
        least, most = (", ".join(f"{name} ({share[name]:.2f})" for name in some) for some in (ranked[:3], reversed(ranked[-3:])))
        told += f" As a share of gray's ΔE00, most is left on {least}, least on {most}."
    yield told


def _verdict(each: Ends, more: bool = False) -> str:
    """Whether a difference is an improvement, which is less unless `more` is better."""
    return {0: "No difference.", 1: "Yes."}.get(sign(each) if more else -sign(each), "No.")


def _headline(found: Numbers) -> Table:
    columns = ("way", "PSNR minus gray's, dB", "ΔE00", "ΔE00 / gray's", "colorfulness / truth's")
    rows = [
        (titled(way), "" if way == "gray" else difference(row["psnr_gain"]), interval(row["delta_e"]),
         interval(row["delta_e_ratio"], ".3f"), interval(row["colorfulness_ratio"]))
        for way, row in found["ways"].items() if ": " not in way or way.endswith(": routed")
    ]  # fmt: skip
    return Table(columns, rows, (TITLES["routed"],))
