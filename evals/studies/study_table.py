"""The result of a study as a table (Markdown and CSV) and a figure (PNG); independent of any particular study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from ...planning.files import whole_file, write_table, write_whole
from ..console import Column, say, show_table
from ..records.statistics import Estimate
from ..records.summary import versions

Row = dict[str, Any]
Draw = Callable[[Sequence[Any], Sequence[Row]], None]


class Study(Protocol):
    """The functions of a study's module.

    run: makes the table; `full` for more seeds, sizes and episodes.
    panels: the titles of the figure's panels side by side, empty for one wide panel.
    draw: fills the matplotlib axes, one for each panel, from the rows of the CSV file.
    """

    @property
    def run(self) -> Callable[..., StudyTable]: ...

    def panels(self, rows: Sequence[Row]) -> Sequence[str]: ...

    def draw(self, axes: Sequence[Any], rows: Sequence[Row]) -> None: ...


@dataclass
class StudyTable:
    """The result of a study.

    title: the question. description: what was measured, with the terms of the table. rows: all figures, for the CSV
    file. table: the same for readers, with values as they are printed. findings: conclusions, one line each.
    keys: how many of the table's first columns say what a line is about. name, command: of the study.
    """

    title: str
    description: str
    rows: list[Row]
    table: list[Row]
    findings: list[str] = field(default_factory=list)
    keys: int = 1
    name: str = ""
    command: str = ""

    def show(self, console: Console) -> None:
        """Print the table and the findings."""
        names = list(self.table[0])
        columns = [Column(name, right=False) for name in names]
        rows = [[str(row.get(name, "-")) for name in names] for row in self.table]
        show_table(console, columns, rows, title=self.title, keys=self.keys)
        for line in self.findings:
            say(console, f"- {line}", wrap=True)

    def markdown(self) -> str:
        """The result as a Markdown page."""
        names = list(self.table[0])
        lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
        lines += ["| " + " | ".join(str(row.get(name, "-")) for name in names) + " |" for row in self.table]
        with_versions = ", ".join(f"{name} {number}" for name, number in versions().items() if number)
        parts = [f"# {self.title}", self.description, f"`{self.command}` ({with_versions}, one thread)"]
        parts += ["\n".join(lines), "\n".join(f"- {line}" for line in self.findings), f"![figure]({self.name}.png)"]
        return "\n\n".join(part for part in parts if part) + "\n"

    def write(self, folder: Path, study: Study) -> list[Path]:
        """Write `NAME.md`, `NAME.csv` and `NAME.png` to `folder`, which is created if absent; return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        page, sheet, figure = (folder / f"{self.name}.{end}" for end in ("md", "csv", "png"))
        write_whole(page, self.markdown())
        names = list(self.rows[0])
        write_table(sheet, names, ([rounded(row.get(name, "")) for name in names] for row in self.rows))
        plot(figure, study.draw, self.rows, len(study.panels(self.rows)))
        return [page, sheet, figure]


def plot(path: Path, draw: Draw, rows: Sequence[Row], panels: int = 0) -> None:
    """Save a figure of `panels` panels side by side, or of one wide panel where there are 0."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * panels if panels else 6.4, 4.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.subplots(1, panels or 1, squeeze=False)[0], rows)
    with whole_file(path) as beside:
        figure.savefig(beside)


def plot_lines(axes: Any, rows: Sequence[Row], by: Sequence[str], x: str, y: str = "value") -> None:
    """One line for each combination of the columns `by`, with a band between the columns low and high if present."""
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


def format_estimate(figure: Estimate, digits: int = 3) -> str:
    """An estimate with its interval, "0.12 [0.10, 0.14]", or only the value where the interval is NaN."""
    value = f"{figure.value:.{digits}g}"
    return value if figure.low != figure.low else f"{value} [{figure.low:.{digits}g}, {figure.high:.{digits}g}]"


def rounded(value: Any) -> Any:
    """Floats rounded to the six significant digits that the CSV files store; other values unchanged."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
