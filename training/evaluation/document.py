"""A report as a list of blocks, written once and read as Markdown or as one HTML file that needs nothing else."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources


@dataclass(frozen=True)
class Heading:
    """Of a section; `level` 1 is the title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; the rows whose first cell is in `strong` stand out."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """A picture, kept as `plots/NAME.FORMAT` beside the Markdown; `caption` says in words what it shows."""

    name: str
    content: bytes
    caption: str
    format: str = "png"

    @property
    def path(self) -> str:
        """Beside the Markdown."""
        return f"plots/{self.name}.{self.format}"


Block = Heading | Text | Points | Table | Figure


def markdown(blocks: Sequence[Block]) -> str:
    """The blocks as Markdown; its figures are files beside it, see `figures`."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def figures(blocks: Sequence[Block]) -> Mapping[str, bytes]:
    """The files that the Markdown shows, by their paths beside it."""
    return {block.path: block.content for block in blocks if isinstance(block, Figure)}


def html(title: str, blocks: Sequence[Block]) -> str:
    """The blocks as one HTML file, pictures and style in it; no script."""
    style = (resources.files("training") / "evaluation" / "report.css").read_text()
    head = (
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{style}</style>",
    )
    parts = ("<!doctype html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", *map(_html, blocks), "</body>", "</html>")
    return "\n".join(parts) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Text):
        return block.text
    if isinstance(block, Points):
        return "\n".join(f"- {item}" for item in block.items)
    if isinstance(block, Figure):
        return f"![{block.caption}]({block.path})\n\n{block.caption}"
    cells = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in (block.columns, *block.rows)]
    strong = [False, *(row[0] in block.strong for row in block.rows)]
    columns, *rows = ([f"**{cell}**" if loud and cell else cell for cell in row] for row, loud in zip(cells, strong, strict=True))
    return "\n".join(f"| {' | '.join(each)} |" for each in (columns, ["---"] * len(columns), *rows))


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Points):
        return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
    if isinstance(block, Figure):
        data, caption = base64.b64encode(block.content).decode(), escape(block.caption, quote=True)
        image = f'<img src="data:image/{block.format};base64,{data}" alt="{caption}">'
        return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in block.columns)
    rows = "".join(
        ('<tr class="strong">' if row[0] in block.strong else "<tr>")
        + "".join(f"<td>{escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in block.rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
