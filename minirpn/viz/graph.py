"""A computation as a graph: what was made from what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from minirpn.viz.style import BLACK, BLUE, GREY, new_axes


def draw_graph(
    inputs: Mapping[str, Sequence[str]], ax: Axes | None = None, *, title: str = ""
) -> Axes:
    """Return axes with a computation from left to right, an arrow from each input to what it makes.

    Parameters
    ----------
    inputs
        Name -> the names it was made from; an entry comes after those of its inputs. Those made
        from nothing are drawn grey, the others blue.
    ax
        Where to draw; None makes a new figure.
    title
        A line above.

    Raises
    ------
    ValueError
        An input has no entry before the one that it makes.
    """
    columns: dict[str, int] = {}
    for name, made_from in inputs.items():
        missing = [source for source in made_from if source not in columns]
        if missing:
            raise ValueError(f"inputs: {missing[0]!r} has no entry before {name!r}")
        columns[name] = max((columns[source] + 1 for source in made_from), default=0)
    _pull_sources_right(inputs, columns)
    by_column = [
        _in_rows([name for name in inputs if columns[name] == column], inputs)
        for column in range(max(columns.values(), default=0) + 1)
    ]
    tallest = max(map(len, by_column))
    ax = new_axes((1.0 + 1.25 * len(by_column), 0.8 + 0.55 * tallest)) if ax is None else ax
    # A column is centred: with n names they are n - 1 apart.
    places = {
        name: (float(column), row - (len(names) - 1) / 2)
        for column, names in enumerate(by_column)
        for row, name in enumerate(names)
    }
    _draw(ax, inputs, places)
    ax.set(xlim=(-0.5, len(by_column) - 0.5), ylim=(tallest / 2, -tallest / 2))
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize="medium")
    return ax


def _pull_sources_right(inputs: Mapping[str, Sequence[str]], columns: dict[str, int]) -> None:
    """Move what is made from nothing (weights, say) to the column before its first use."""
    for name, made_from in inputs.items():
        users = [columns[user] for user, sources in inputs.items() if name in sources]
        if not made_from and users:
            columns[name] = min(users) - 1


def _in_rows(names: Sequence[str], inputs: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of a column from top to bottom: what is computed in the middle."""
    sources = [name for name in names if not inputs[name]]
    half = (len(sources) + 1) // 2
    return sources[:half] + [name for name in names if inputs[name]] + sources[half:]


def _draw(
    ax: Axes,
    inputs: Mapping[str, Sequence[str]],
    places: Mapping[str, tuple[float, float]],
) -> None:
    frames = {}
    for name, made_from in inputs.items():
        frame = {
            "boxstyle": "round,pad=0.35",
            "facecolor": "white",
            "edgecolor": BLUE if made_from else GREY,
        }
        label = ax.text(
            *places[name], name, ha="center", va="center", fontsize="small", color=BLACK, bbox=frame
        )
        frames[name] = label.get_bbox_patch()
    for name, made_from in inputs.items():
        for source in made_from:
            # Drawn after the frames, whose places are known by then: it ends at their edges.
            arrow = {"arrowstyle": "->", "color": "0.4", "shrinkA": 1, "shrinkB": 1}
            arrow |= {"patchA": frames[source], "patchB": frames[name]}
            ax.annotate("", places[name], places[source], arrowprops=arrow, zorder=4)
