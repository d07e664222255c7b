"""What a study found, as a table (Markdown and CSV) and a figure (PNG). It knows no study."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..records.statistics import Estimate
from ..records.summary import versions

Row = dict[str, Any]
Draw = Callable[[Any, Sequence[Row]], None]


@dataclass
class Sheet:
    """title: the question. about: what was measured and what each word means. rows: every figure, for the CSV.
    table: the same for people, values as they are to be printed. found: what the figures say, one line each."""

    title: str
    about: str
    rows: list[Row]
    table: list[Row]
    found: list[str] = field(default_factory=list)
    name: str = ""
    command: str = ""

    def show(self, console: Console) -> None:
        """Print the table and what was found."""
        screen = Table(title=self.title, box=None, pad_edge=False)
        for name in self.table[0]:
            screen.add_column(name)
        for row in self.table:
            screen.add_row(*(str(value) for value in row.values()))
        console.print(screen)
        for line in self.found:
            console.print(f"- {line}", highlight=False, soft_wrap=True)

    def markdown(self) -> str:
        """The sheet as a page."""
        names = list(self.table[0])
        lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
        lines += ["| " + " | ".join(str(row.get(name, "-")) for name in names) + " |" for row in self.table]
        with_versions = ", ".join(f"{name} {number}" for name, number in versions().items() if number)
        parts = [f"# {self.title}", self.about, f"`{self.command}` ({with_versions}, one thread)"]
        parts += ["\n".join(lines), "\n".join(f"- {line}" for line in self.found), f"![figure]({self.name}.png)"]
        return "\n\n".join(part for part in parts if part) + "\n"

    def write(self, folder: Path, draw: Draw, panels: int | None = None) -> list[Path]:
        """`NAME.md`, `NAME.csv` and `NAME.png` in `folder`, made if absent. draw: fills matplotlib axes from rows, an
        array of them where `panels` says how many."""
        folder.mkdir(parents=True, exist_ok=True)
        page, sheet, figure = (folder / f"{self.name}.{end}" for end in ("md", "csv", "png"))
        page.write_text(self.markdown())
        with sheet.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: rounded(value) for name, value in row.items()} for row in self.rows)
        plot(figure, draw, self.rows, panels)
        return [page, sheet, figure]


def plot(path: Path, draw: Draw, rows: Sequence[Row], panels: int | None = None) -> None:
    """A figure of one panel, or of several side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 if panels is None else 4.6 * panels, 4.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.subplots() if panels is None else figure.subplots(1, panels, squeeze=False)[0], rows)
    figure.savefig(path)


def lines(axes: Any, rows: Sequence[Row], by: Sequence[str], x: str, y: str = "value") -> None:
    """One line with its interval (columns low and high) for every combination of the columns `by`."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(", ".join(str(row[name]) for name in by), []).append(row)
    for label, points in groups.items():
        across = [point[x] for point in points]
        (line,) = axes.plot(across, [point[y] for point in points], marker="o", markersize=3, label=label)
        if "low" in points[0]:
            edges = [point["low"] for point in points], [point["high"] for point in points]
            axes.fill_between(across, *edges, color=line.get_color(), alpha=0.12, linewidth=0)
    axes.set_xlabel(x)
    axes.legend(fontsize=7)


def said(figure: Estimate, digits: int = 3) -> str:
    """An estimate in words, "0.12 [0.10, 0.14]", or the value alone where there is no interval."""
    value = f"{figure.value:.{digits}g}"
    return value if figure.low != figure.low else f"{value} [{figure.low:.{digits}g}, {figure.high:.{digits}g}]"


def rounded(value: Any) -> Any:
    """Six digits are enough for a figure in a file that people compare."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
