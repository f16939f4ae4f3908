"""Make the report of a run: draw its diagrams, then put all there is on one page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes

from minirpn import viz
from minirpn.errors import InputError
from minirpn.report.contents import Contents, read_contents
from minirpn.report.page import render


def write_report(run: Path | str) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    The page is one file: pictures and style are in it, nothing is loaded, nothing is executed. It
    shows what the folder holds, and says what is missing.

    Parameters
    ----------
    run
        A folder with any of ``config.toml``, ``env.json``, ``metrics.jsonl``, ``recall.json``,
        ``precision.json``, ``plots/samples`` and ``plots/*.png`` (with captions in
        ``plots/captions.json``: file name -> caption). The diagrams of losses, recall and stages
        are drawn into ``plots/``.

    Raises
    ------
    InputError
        There is no such folder, or it cannot be written to.
    """
    run = Path(run)
    if not run.is_dir():
        raise InputError(f"{run}: no such run folder")
    path = run / "report.html"
    contents = read_contents(run)
    try:
        _draw_diagrams(contents)
        # Aside first: the run may go on, and end with a report of its own.
        aside = path.with_name(".report.html.tmp")
        aside.write_text(render(contents), encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot write the report: {error.strerror}") from None
    return path


def _draw_diagrams(contents: Contents) -> None:
    """Draw what there are numbers for; numbers that cannot be drawn become a notice."""
    records, recall, precision = contents.records, contents.recall, contents.precision
    diagrams: dict[str, Callable[[], Axes]] = {}
    if contents.of_kind("train"):
        diagrams["training.png"] = lambda: viz.plot_training(records)
    if contents.of_kind("validate"):
        diagrams["validation.png"] = lambda: viz.plot_validation_recall(records)
    if contents.of_kind("diagnose"):
        diagrams["stages.png"] = lambda: viz.plot_stages(records)[0]
    if any("weight_norm" in record for record in contents.of_kind("diagnose")):
        diagrams["norms.png"] = lambda: viz.plot_norms(records)[0]
    if recall is not None:
        diagrams["recall.png"] = lambda: viz.plot_recall(recall)
    if precision is not None:
        diagrams["precision_recall.png"] = lambda: viz.plot_precision_recall(precision)
    for name, draw in diagrams.items():
        try:
            axes = draw()
        except (ValueError, TypeError, AttributeError) as error:
            contents.notices.append(f"{name} could not be drawn: {error}.")
        else:
            viz.save(axes, contents.run / "plots" / name)
