"""What single chapters draw: moving pictures, windows that slide, graphs, phases of a training.

As in `minirpn.viz`, a function returns what it has drawn and shows nothing. All arrays are NumPy's.
"""

import re
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from minirpn import boxes as box_ops
from minirpn.nn.window import conv_output_size, pair
from minirpn.viz import draw_boxes, draw_image, draw_numbers, draw_proposals, plot_objectness
from minirpn.viz.images import pixel_axes
from minirpn.viz.style import BLACK, BLUE, CYCLE, GREY, ORANGE, VERMILLION, legend_below, new_axes

# === Moving pictures ==============================================================================
# matplotlib loads the symbols of its buttons from a web page; these are in every font.
SYMBOLS = {
    "minus": "−",
    "fast-backward": "«",
    "step-backward": "‹",
    "play fa-flip-horizontal": "◂",
    "pause": "||",
    "play": "▸",
    "step-forward": "›",
    "fast-forward": "»",
    "plus": "+",
}


@dataclass(frozen=True)
class Animation:
    """Pictures one after the other, with buttons. The HTML loads nothing from the web."""

    html: str = field(repr=False)

    def _repr_html_(self):
        return self.html


def recorded(pictures, *, mode, picture_format):
    """Return matplotlib's `FuncAnimation` as an `Animation`.

    The mode is "loop" or "once". The format "png" is sharp; "jpeg" needs a third of the bytes for
    a photograph.
    """
    style = {
        "animation.frame_format": picture_format,
        "savefig.dpi": "figure",
        "savefig.facecolor": "white",
    }
    with matplotlib.rc_context(style):
        html = pictures.to_jshtml(default_mode=mode)
    html = re.sub(r"<link [^>]*>", "", html)
    html = re.sub(r'<i class="fa fa-([a-z -]+)"></i>', lambda icon: SYMBOLS[icon.group(1)], html)
    # Show the first picture before, and without, the script. In JupyterLab an image that is empty
    # at first stays without size when the script fills it.
    first = re.findall(r'frames\[0\] = "([^"]*)"', html)[0].replace("\\\n", "")  # on one line
    return Animation(re.sub(r'(<img id="\w+")>', rf'\1 alt="animation" src="{first}">', html))


def played(figure, draw, count, *, interval):
    """Return an animation of draw(0), draw(1) ... on the cleared figure; milliseconds for each."""
    if count < 1:
        raise ValueError("expected at least one picture to play")

    def draw_again(index):
        figure.clear()
        draw(index)

    pictures = FuncAnimation(figure, draw_again, frames=count, interval=interval)
    return recorded(pictures, mode="once", picture_format="jpeg")


# === Chapter 02: the anchors of a cell ============================================================
STYLES = ("--", "-", ":")


def draw_sizes(anchors, scales, image=None):
    """Return axes with the anchors of a cell: a colour for each scale, a style for each ratio.

    Anchors are (A, 4), at most three ratios one after the other, each at `scales` scales. The
    legend names width × height: labels at the boxes would cover each other. The axes show all
    anchors, and the image (H, W, 3) if there is one. A cross marks the center.
    """
    ax = new_axes((6.4, 5.0)) if image is None else draw_image(image)
    for index, anchor in enumerate(anchors):
        width, height = anchor[2:] - anchor[:2]
        ratio, scale = divmod(index, scales)
        draw_boxes(
            anchor[None],
            ax,
            colors=CYCLE[scale],
            linestyle=STYLES[ratio],
            linewidth=2,
            label=f"{width:.4g} × {height:.4g}",
        )
    ax.plot(*(anchors[0, :2] + anchors[0, 2:]) / 2, "+", color=BLACK, markersize=10)
    corners = anchors.reshape(-1, 2)  # (A, 4) -> (2 A, 2)
    if image is not None:
        corners = np.concatenate([corners, [(0, 0), image.shape[1::-1]]])
    low, high = corners.min(axis=0), corners.max(axis=0)
    room = 0.03 * (high - low).max()
    pixel_axes(ax, low - room, high + room)
    ratios = -(-len(anchors) // scales)  # a column each
    ax.legend(
        title="width × height (pixels)",
        fontsize="small",
        title_fontsize="small",
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        borderaxespad=5,
        ncols=ratios,
        handlelength=4,
    )
    return ax


# === Chapter 08: proposals while a network learns =================================================
class Moment(NamedTuple):
    """The output of a network for an image, at one time of its training."""

    name: str  # such as "step 40, loss 0.031"
    objectness: np.ndarray  # (Hf, Wf) probabilities, or (Hf, Wf, A)
    proposals: np.ndarray  # (R, 4) half-open pixels of the image, the best first
    scores: np.ndarray  # (R,)


def animate_boxes(image, moments, gt_boxes=None, *, stride=16, top=10):
    """Return an animation of the objectness map and the `top` best proposals, by moments.

    The image is (H, W, 3) uint8, the ground truths (M, 4); those that are found are solid.
    """
    figure = Figure(figsize=(9.6, 3.9), dpi=80, layout="constrained")
    ground = pale(image)

    def draw(index):
        moment = moments[index]
        left, right = figure.subplots(1, 2)
        plot_objectness(moment.objectness, ground, left, stride=stride)
        draw_proposals(image, moment.proposals, moment.scores, gt_boxes, right, top=top)
        figure.suptitle(moment.name, fontsize="medium")

    return played(figure, draw, len(moments), interval=500)


def pale(image):
    """Return the image in light grey, so that only a map over it has colours."""
    grey = (128 + image.mean(axis=2) / 2).astype(np.uint8)
    return np.stack([grey] * 3, axis=2)  # (H, W) -> (H, W, 3)


# === Chapters 11 and 12: a training that is kept in a file, and pictures side by side =============
def records_of(kept):
    """Return the records of `recording.py` as those of a run, for `minirpn.viz.plot_training`."""
    names = ("loss", "objectness_loss", "box_loss", "lr")

    def record(kind, step, numbers):
        return {"kind": kind, "step": int(step)} | dict(
            zip(names, map(float, numbers), strict=False)
        )

    trained = [record("train", k, row) for k, row in enumerate(kept["losses"], start=1)]
    validated = zip(kept["validated"], kept["validations"], strict=True)
    return trained + [record("validate", step, row) for step, row in validated if step]


def kept_moments(kept, iou_threshold=0.4):
    """Return the moments of `recording.py`, for `animate_boxes`.

    Of proposals that overlap by more than the threshold the best stays.
    """
    columns = (kept[name] for name in ("moments", "objectness", "boxes", "scores"))
    moments = []
    for step, objectness, boxes, scores in zip(*columns, strict=True):
        stay = box_ops.nms(boxes, scores, iou_threshold=iou_threshold)
        moments.append(Moment(f"after step {step:,}", objectness, boxes[stay], scores[stay]))
    return moments


def draw_pictures(images, gt_boxes, boxes, scores, *, top=5):
    """Return a figure of pictures (H, W, 3), two in a row, each with its `top` best proposals.

    Of each picture the ground truths (M, 4), its proposals (R, 4), the best first, and scores (R,).
    """
    rows = (len(images) + 1) // 2
    figure = Figure(figsize=(9.6, 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False).ravel()[: len(images)]
    for image, objects, some, their_scores, ax in zip(
        images, gt_boxes, boxes, scores, axes, strict=True
    ):
        draw_proposals(image, some, their_scores, objects, ax, top=top)
    return figure


# === Chapter 10: suppression round by round =======================================================
class Round(NamedTuple):
    """One round of greedy suppression: indices of boxes, ascending, in the order of drawing."""

    gone: np.ndarray  # removed in earlier rounds
    waiting: np.ndarray  # left for later rounds
    stayed: np.ndarray  # stayed in earlier rounds
    struck: np.ndarray  # removed in this round
    best: np.ndarray  # the one that removes them: it had the highest score of those left


# What the legend calls each group, its colour, style and width of line.
GROUPS = (
    ("gone", GREY, ":", 1.2),
    ("waiting", ORANGE, "-", 1.2),
    ("stayed", BLUE, "-", 2.0),
    ("struck out now", VERMILLION, "--", 2.0),
    ("best of those left", BLACK, "-", 3.0),
)


def suppression_rounds(boxes, scores, iou_threshold):
    """Return a round in which all boxes (N, 4) wait, then one for each box that stays.

    The `best` of the rounds are, in order, what `minirpn.boxes.nms` returns.
    """
    if len(scores) != len(boxes):
        raise ValueError(f"{len(boxes)} boxes, but {len(scores)} scores")
    overlaps = box_ops.iou(boxes, boxes)
    waiting, none = np.argsort(-scores, kind="stable"), np.zeros(0, dtype=np.int64)
    rounds = [Round(none, np.sort(waiting), none, none, none)]
    while len(waiting):
        last, best, others = rounds[-1], waiting[:1], waiting[1:]
        covered = overlaps[best[0], others] > iou_threshold
        struck, waiting = others[covered], others[~covered]
        gone, stayed = np.append(last.gone, last.struck), np.append(last.stayed, last.best)
        rounds.append(Round(*map(np.sort, (gone, waiting, stayed, struck, best))))
    return rounds


def animate_nms(boxes, scores, *, iou_threshold, image=None, names=None):
    """Return an animation of greedy suppression: all boxes, then a picture for each that stays.

    Boxes are (N, 4), at least one, scores (N,), in any order. Names are written at the boxes.
    """
    rounds = suppression_rounds(boxes, scores, iou_threshold)
    figure = Figure(figsize=(6.0, 5.6), dpi=80)

    def draw(index):
        # The same place in all pictures: with a layout for each one they would jump.
        figure.subplots_adjust(left=0.12, right=0.97, top=0.94, bottom=0.27)
        ax = prepare(figure.add_subplot(), boxes, image)
        draw_round(boxes, scores, rounds[index], ax, names)

    return played(figure, draw, len(rounds), interval=1200)


def prepare(ax, boxes, image):
    """Return axes with the image, or empty ones with room for the boxes."""
    if image is not None:
        return draw_image(image, ax)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    room = 0.05 * (high - low).max()
    return pixel_axes(ax, low - room, high + room)


def draw_round(boxes, scores, now, ax, names=None):
    """Return axes with one round of suppression."""
    for chosen, (group, color, linestyle, linewidth) in zip(now, GROUPS, strict=True):
        draw_boxes(
            boxes[chosen],
            ax,
            names=None if names is None else [names[k] for k in chosen],
            scores=scores[chosen] if chosen is now.best else None,
            colors=color,
            linestyle=linestyle,
            linewidth=linewidth,
            label=f"{group} ({len(chosen)})",
        )
    title = f"{len(boxes)} boxes, none looked at yet"
    for score in scores[now.best]:
        title = f"round {len(now.stayed) + 1}: {score:.2f} stays, {len(now.struck)} struck out"
    ax.set_title(title, fontsize="medium")
    legend_below(ax)
    return ax


# === Chapters 06 and 07: a window that slides over an image =======================================
# An image is (H, W), an output (Ho, Wo) has one number for each window. A kernel is an int,
# (height, width), or weights (kh, kw); stride and padding are an int or (vertical, horizontal).
CELL = 0.42  # inches
MOST_FRAMES = 40


def draw_window(image, output, at, *, kernel, stride=1, padding=0):
    """Return the axes of an image with one window framed, and of the outputs so far.

    `at` is the (row, column) of the framed output. Those after it, row by row, are left empty.
    """
    panels = Panels(image, output, kernel, stride, padding)
    panels.move(at)
    return panels.left, panels.right


def draw_columns(image, at, *, kernel, stride=1, padding=0):
    """Return the axes of an image with the window of output `at` framed, and of all as columns."""
    image, windows = matrix(image, "image"), Windows.of(kernel, stride, padding)
    Ho, Wo = conv_output_size(image.shape, *windows)
    check_place(at, (Ho, Wo))
    (top, left), (down, right) = windows.padding, windows.stride
    padded = np.pad(image, ((top, top), (left, left)))
    cells = np.lib.stride_tricks.sliding_window_view(padded, windows.kernel)[::down, ::right]
    columns = cells.reshape(Ho * Wo, -1).T  # (Ho,Wo,kh,kw) -> (Ho Wo, kh kw) -> (kh kw, Ho Wo)
    _, (beside, table) = side_by_side(image, windows.extent(image.shape, (Ho, Wo)), [columns])
    table.set(xlabel="window (row by row)", ylabel="place in the window (row by row)")
    table.set_title("columns", fontsize="medium")
    add_frame(beside, windows.kernel).set_xy(windows.corner(*at))
    add_frame(table, (len(columns), 1)).set_xy((at[0] * Wo + at[1], 0))
    return beside, table


def animate_window(image, output, *, kernel, stride=1, padding=0, interval=600):
    """Return an animation of `draw_window`, one picture for each output, row by row."""
    panels = Panels(image, output, kernel, stride, padding)
    if panels.output.size > MOST_FRAMES:
        raise ValueError(
            f"output: expected at most {MOST_FRAMES} numbers, got {panels.output.size}"
        )
    panels.figure.set_dpi(72)
    panels.figure.draw_without_rendering()  # finds the layout, the same for all pictures
    panels.figure.set_layout_engine("none")
    frames = FuncAnimation(
        panels.figure,
        panels.move,
        frames=list(np.ndindex(panels.output.shape)),
        interval=interval,
        cache_frame_data=False,
    )
    return recorded(frames, mode="loop", picture_format="png")


class Windows(NamedTuple):
    """Where windows stand on an image, as pairs (vertical, horizontal)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @classmethod
    def of(cls, kernel, stride, padding):
        """Return windows from ints or pairs, checked."""
        return cls(
            pair(kernel, "kernel", least=1),
            pair(stride, "stride", least=1),
            pair(padding, "padding", least=0),
        )

    def corner(self, row, column):
        """Return (x, y) of the upper left corner of an output's window."""
        return column * self.stride[1] - self.padding[1], row * self.stride[0] - self.padding[0]

    def extent(self, size, output_size):
        """Return the box around an image, its padding and all windows."""
        (H, W), (top, left) = size, self.padding
        x, y = self.corner(output_size[0] - 1, output_size[1] - 1)
        return -left, -top, max(W + left, x + self.kernel[1]), max(H + top, y + self.kernel[0])


class Panels:
    """An image, its kernel and its outputs side by side, and two frames that move over them."""

    def __init__(self, image, output, kernel, stride, padding):
        image = matrix(image, "image")
        self.output = matrix(output, "output")
        weights = [] if isinstance(kernel, int | tuple) else [matrix(kernel, "kernel")]
        self.windows = Windows.of(weights[0].shape if weights else kernel, stride, padding)
        extent = self.windows.extent(image.shape, self.output.shape)
        self.figure, axes = side_by_side(image, extent, [*weights, self.output])
        self.left, *middle, self.right = axes
        for ax in middle:
            ax.set_title("kernel", fontsize="medium")
        self.right.set_title("output", fontsize="medium")
        self.window = add_frame(self.left, self.windows.kernel)
        self.cell = add_frame(self.right, (1, 1))

    def move(self, at):
        """Frame the output `at` and its window, and hide later outputs."""
        check_place(at, self.output.shape)
        (row, column), (Ho, Wo) = at, self.output.shape
        later = np.arange(Ho * Wo).reshape(Ho, Wo) > row * Wo + column
        self.right.images[0].set_data(np.ma.masked_where(later, self.output))
        for text in self.right.texts:
            x, y = text.get_position()
            text.set_visible(not later[int(y), int(x)])
        self.window.set_xy(self.windows.corner(row, column))
        self.cell.set_xy((column, row))


def check_place(at, size):
    if not (0 <= at[0] < size[0] and 0 <= at[1] < size[1]):
        raise ValueError(f"at: expected a place in {size}, got {at}")


def matrix(values, name):
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 2:
        raise ValueError(f"{name}: expected a matrix, got the shape {numbers.shape}")
    return numbers


def side_by_side(image, extent, tables):
    """Return a new figure and its axes: the image on the grey of its padding, and tables."""
    x1, y1, x2, y2 = extent
    widths = [x2 - x1, *(table.shape[1] for table in tables)]
    height = max(y2 - y1, *(len(table) for table in tables))
    size = (CELL * sum(widths) + 0.8 * len(widths), CELL * height + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    axes = list(figure.subplots(1, len(widths), width_ratios=widths))
    draw_numbers(image, axes[0], title="image")
    axes[0].set(xlim=(x1, x2), ylim=(y2, y1), facecolor="0.85")
    for table, ax in zip(tables, axes[1:], strict=True):
        draw_numbers(table, ax)
    return figure, axes


def add_frame(ax, size):
    """Return a black frame around `size` (rows, columns) of cells, not yet in its place."""
    frame = Rectangle(
        (0, 0), size[1], size[0], fill=False, color=BLACK, linewidth=3.5, clip_on=False, zorder=3
    )
    ax.add_patch(frame)
    return frame


# === Chapters 09 and 13: words in frames, and arrows between them =================================
class Flow:
    """Words in frames at places (x, y) of axes, and arrows from one to another."""

    def __init__(self, ax):
        self.ax = ax
        self.frames = {}  # by place

    def box(self, place, text, *, face, edge):
        """Draw a word in a frame around a place."""
        frame = {"boxstyle": "round,pad=0.35", "facecolor": face, "edgecolor": edge}
        color = BLACK if face == "white" else "white"
        label = self.ax.text(
            *place, text, ha="center", va="center", fontsize="small", color=color, bbox=frame
        )
        self.frames[place] = label.get_bbox_patch()

    def arrow(self, source, target, *, color="0.4", bow=0.0):
        """Draw an arrow between the frames at two places; `bow` bends it."""
        style = {
            "arrowstyle": "->",
            "color": color,
            "shrinkA": 1,
            "shrinkB": 1,
            "patchA": self.frames[source],
            "patchB": self.frames[target],
            "connectionstyle": f"arc3,rad={bow}",
        }
        self.ax.annotate("", target, source, arrowprops=style, zorder=4)


def draw_graph(inputs, ax=None, *, title=""):
    """Return axes with a computation from top to bottom, an arrow from each input to what it makes.

    `inputs` is a dictionary: name -> the names it is made from. An entry comes after those of its
    inputs. Entries without inputs are grey, the others blue.
    """
    rows = rows_of_graph(inputs)
    places = {}
    for row in range(max(rows.values(), default=0) + 1):
        made = [name for name in inputs if rows[name] == row and inputs[name]]
        for name, x in zip(made, below_inputs(made, inputs, places), strict=True):
            places[name] = (x, row)
    for name in inputs:
        if not inputs[name]:
            places[name] = (beside_its_row(name, inputs, places, rows[name]), rows[name])
    across = [x for x, _ in places.values()] or [0]
    left, right, bottom = min(across), max(across), max(rows.values(), default=0)
    ax = new_axes((1.7 * (right - left + 1), 0.5 + 0.62 * (bottom + 1))) if ax is None else ax
    flow = Flow(ax)
    for name, sources in inputs.items():
        flow.box(places[name], name, face="white", edge=BLUE if sources else GREY)
    for name, sources in inputs.items():
        for source in sources:
            flow.arrow(places[source], places[name])
    ax.set(xlim=(left - 0.5, right + 0.5), ylim=(bottom + 0.5, -0.5))
    ax.set_axis_off()
    ax.set_title(title, fontsize="medium")
    return ax


def rows_of_graph(inputs):
    """Return name -> row: below all inputs; what has none, such as weights, above its first use."""
    rows = {}
    for name, sources in inputs.items():
        missing = [source for source in sources if source not in rows]
        if missing:
            raise ValueError(f"inputs: {missing[0]!r} has no entry before {name!r}")
        rows[name] = max((rows[source] + 1 for source in sources), default=0)
    for name, sources in inputs.items():
        users = [rows[user] for user in inputs if name in inputs[user]]
        if not sources and users:
            rows[name] = min(users) - 1
    return rows


def below_inputs(names, inputs, places):
    """Return an x for each name of a row: below its inputs, or side by side if too close."""
    wanted = []
    for name in names:
        across = [places[source][0] for source in inputs[name] if source in places]
        wanted.append(float(np.mean(across)) if across else 0.0)
    if len(names) < 2 or np.diff(wanted).min() >= 1:
        return wanted
    return [np.mean(wanted) + k - (len(names) - 1) / 2 for k in range(len(names))]


def beside_its_row(name, inputs, places, row):
    """Return an x for what has no inputs: at the end of its row that is nearer to its user."""
    others = [x for x, y in places.values() if y == row]
    users = [places[user][0] for user in inputs if name in inputs[user]]
    at = users[0] if users else 0.0
    if not others:
        return at - 0.5
    return min(others) - 1 if at < np.mean(others) else max(others) + 1


PARTS = {"backbone": "backbone", "rpn": "RPN", "detector": "detector"}  # part -> its name


def draw_phases(phases, ax=None, *, title=""):
    """Return axes with a training from left to right: a column a phase, a row a part.

    The phases are those of `minirpn.training.phases.phases_of`. A part that learns in a phase is
    blue, one that is only used is white, one that is not used has no box. Grey arrows show where
    the parameters of a part come from, orange arrows which RPN makes the proposals of a phase.
    """
    # A phase computes with the parts that learn, on the features of the backbone.
    used = [phase.trainable_parts | {"backbone"} for phase in phases]
    parts = [part for part in PARTS if any(part in some for some in used)]
    ax = new_axes((1.4 + 1.5 * len(phases), 1.3 + 0.75 * len(parts))) if ax is None else ax
    flow = Flow(ax)
    for row, part in enumerate(parts):
        start = last = (0, row)
        flow.box(start, PARTS[part], face="white", edge=GREY)
        for column, phase in enumerate(phases, start=1):
            if part in used[column - 1]:
                here, learns = (column, row), part in phase.trainable_parts
                face, word = (BLUE, "learns") if learns else ("white", "fixed")
                flow.box(here, word, face=face, edge=BLUE)
                reset = phase.reset_backbone and part == "backbone" and last != start
                flow.arrow(start if reset else last, here, bow=-0.3 if reset else 0.0)
                last = here
    for column, phase in enumerate(phases, start=1):
        # Above the first row and the arrow that bends over it.
        heading = f"{phase.name}\n{phase.steps:,} steps"
        ax.text(column, -1.1, heading, ha="center", va="center", fontsize="small")
        if phase.needs_proposals:
            draw_source_of_proposals(flow, column, parts)
    ax.set(xlim=(-0.5, len(phases) + 0.5), ylim=(len(parts) - 0.5, -1.5))
    ax.set_axis_off()
    ax.set_title(title, fontsize="medium")
    return ax


def draw_source_of_proposals(flow, column, parts):
    """Draw where the proposals of a phase come from: the RPN of the one before, or a file."""
    rpn, detector = parts.index("rpn"), parts.index("detector")
    source = (column - 1, rpn)
    if column == 1:
        source = (0.4, (rpn + detector) / 2)
        flow.box(source, "proposals of a file", face="white", edge=GREY)
    else:
        # Below the arrow from the upper left.
        at = (column - 0.56, detector - 0.36)
        flow.ax.text(*at, "proposals", color=VERMILLION, ha="right", fontsize="small")
    flow.arrow(source, (column, detector), color=VERMILLION)


# === Chapter 12: the learner's code beside that of rpn.py =========================================
@dataclass(frozen=True)
class Columns:
    """Pieces of code side by side, each below its title."""

    pieces: tuple[tuple[str, str], ...]

    def _repr_html_(self):
        columns = "".join(
            f'<div style="flex:1 1 26em;min-width:0"><b>{escape(title)}</b>'
            f'<pre style="overflow-x:auto;font-size:85%">{escape(code)}</pre></div>'
            for title, code in self.pieces
        )
        return f'<div style="display:flex;flex-wrap:wrap;gap:1em">{columns}</div>'

    def __repr__(self):
        return "\n\n".join(f"{title}\n{code}" for title, code in self.pieces)
