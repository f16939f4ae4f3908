// The picture and what is drawn on it, in pixels of the picture; a pen knows how large one is.

const MARGIN = 0.06; // of the longer side: room for anchors that cross the border
const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

// What can be shown, in the order in which it is drawn.
const LAYERS = [
  { id: "heat", name: "objectness: the highest p of each cell", draw: drawHeat },
  { id: "negative", rule: ["negative"], name: "negative: IoU below {low} with all objects" },
  { id: "between", rule: ["between", "on_ignored"], name: "ignored: neither positive nor negative" },
  { id: "outside", rule: ["outside"], name: "left out: crosses the border" },
  { id: "by_iou", rule: ["by_iou"], boxes: true, on: true, name: "positive by IoU ≥ {high} alone" },
  { id: "by_best", rule: ["by_best", "by_both"], boxes: true, on: true, name: "positive as a best anchor of an object" },
  { id: "sampled", truth: true, name: "the mini-batch (positives as boxes)", draw: drawSampled },
  { id: "before", name: "best candidates before NMS", draw: drawBefore },
  { id: "after", name: "best proposals after NMS", draw: drawAfter },
  { id: "object", truth: true, on: true, name: "objects (ground truth)", draw: drawObjects },
];

// Returns the layers that this step has something for.
function layersOf(step) {
  return LAYERS.filter((layer) => step.learning || !(layer.rule || layer.truth))
    .filter((layer) => layer.id !== "outside" || step.run.inside_only);
}

function layerName(step, layer) {
  return layer.name.replace("{low}", step.run.negative_iou).replace("{high}", step.run.positive_iou);
}

// Returns how many things a layer shows; null where a number would say nothing.
function layerCount(step, layer) {
  const learning = step.learning;
  if (layer.rule) return learning.rule.reduce((n, rule) => n + hasRule(step, layer, rule), 0);
  if (layer.id === "sampled") return learning.batch.length;
  if (layer.id === "object") return step.objects.learnt.length;
  if (layer.id === "before") return step.candidates.length;
  if (layer.id === "after") return step.kept.length;
  return null;
}

function hasRule(step, layer, rule) {
  return layer.rule.some((name) => step.learning.rules[name] === rule);
}

// Makes a canvas as sharp as the screen and returns a pen for it.
function penFor(canvas, step, width) {
  const { left, top, right, bottom } = viewOf(step);
  const scale = width / (right - left), height = (bottom - top) * scale;
  const dots = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * dots);
  canvas.height = Math.round(height * dots);
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(dots * scale, 0, 0, dots * scale, -left * dots * scale, -top * dots * scale);
  return { context, px: 1 / scale, left, top, right, bottom };
}

// Returns the part of the plane that is shown, in pixels of the picture.
function viewOf(step) {
  const { width, height } = step.image, margin = MARGIN * Math.max(width, height);
  return { left: -margin, top: -margin, right: width + margin, bottom: height + margin };
}

function wipe({ context, left, top, right, bottom }) {
  context.clearRect(left, top, right - left, bottom - top);
}

// Strokes a box in its colour on a pale or dark edge, so that it shows on any ground.
function strokeBox({ context, px }, [x1, y1, x2, y2], colour, width, { dash = [], edge = "#ffffffcc" } = {}) {
  context.setLineDash([]);
  context.strokeStyle = edge;
  context.lineWidth = (width + 2) * px;
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  context.setLineDash(dash.map((length) => length * px));
  context.strokeStyle = colour;
  context.lineWidth = width * px;
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  context.setLineDash([]);
}

// Writes a word in the upper left corner of a box, on a plate of its colour.
function writeAt({ context, px, left, top }, [x1, y1], text, colour) {
  context.font = `600 ${12 * px}px system-ui, sans-serif`;
  const width = context.measureText(text).width + 8 * px, height = 16 * px;
  const x = Math.max(x1, left), y = Math.max(y1 - height, top);
  context.fillStyle = colour;
  context.fillRect(x, y, width, height);
  context.fillStyle = "#000000";
  context.textBaseline = "middle";
  context.fillText(text, x + 4 * px, y + height / 2);
}

// Fills the little square of each anchor that `wanted` picks: in a cell, rows are ratios and
// columns are scales.
function fillSquares(step, { context }, colour, wanted) {
  const { columns, rows, stride, scales } = step.grid;
  const side = stride / Math.max(scales, step.A / scales);
  context.fillStyle = colour;
  for (let row = 0, k = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [x, y] = cellCentre(step, row, column);
      for (let base = 0; base < step.A; base++, k++) {
        if (!wanted(k)) continue;
        const across = base % scales, down = Math.floor(base / scales);
        context.fillRect(x - stride / 2 + across * side, y - stride / 2 + down * side, 0.8 * side, 0.8 * side);
      }
    }
  }
}

function drawRule(step, pen, layer) {
  const { rule } = step.learning, colour = step.colours[layer.id];
  const wanted = (k) => hasRule(step, layer, rule[k]);
  if (!layer.boxes) return fillSquares(step, pen, `${colour}a0`, wanted);
  for (let k = 0; k < step.K; k++) if (wanted(k)) strokeBox(pen, anchorBox(step, k), colour, 1.5, { edge: "#00000060" });
}

function drawSampled(step, pen) {
  const { batch, label } = step.learning;
  const negative = new Set(batch.filter((k) => label[k] === NEGATIVE));
  fillSquares(step, pen, "#ffffff", (k) => negative.has(k));
  fillSquares(step, pen, `${step.colours.sampled}c0`, (k) => negative.has(k));
  for (const k of batch) if (label[k] === POSITIVE) strokeBox(pen, anchorBox(step, k), step.colours.sampled, 1.5);
}

function drawObjects(step, pen) {
  const colour = step.colours.object;
  for (const { box } of step.objects.ignored) {
    strokeBox(pen, box, colour, 1.5, { dash: [3, 3] });
    writeAt(pen, box, "ignored region", colour);
  }
  for (const { box, name } of step.objects.difficult) {
    strokeBox(pen, box, colour, 1.5, { dash: [3, 3] });
    writeAt(pen, box, `${name} (difficult: left out)`, colour);
  }
  step.objects.learnt.forEach(({ box, name }, i) => {
    strokeBox(pen, box, colour, 2.5);
    writeAt(pen, box, `${i + 1} ${name}`, colour);
  });
}

function drawBefore(step, pen, state) {
  const ranks = Array.from(step.candidates.keys()).slice(0, state.top);
  drawRanked(step, pen, ranks, step.colours.before, 1.5, { dash: [4, 3] });
}

function drawAfter(step, pen, state) {
  const ranks = step.kept.slice(0, state.top), colour = step.colours.after;
  drawRanked(step, pen, ranks, colour, 2);
  for (let i = ranks.length - 1; i >= 0; i--) {
    writeAt(pen, proposalBox(step, step.candidates[ranks[i]]), String(i + 1), colour);
  }
}

// Draws candidates, the worst first, so that the best lie on top.
function drawRanked(step, pen, ranks, colour, width, look) {
  for (const rank of ranks.toReversed()) {
    strokeBox(pen, proposalBox(step, step.candidates[rank]), colour, width, look);
  }
}

function drawHeat(step, pen) {
  const { rows, columns, stride } = step.grid;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [x, y] = cellCentre(step, row, column);
      pen.context.fillStyle = heatColour(bestProbability(step, row, column));
      pen.context.fillRect(x - stride / 2, y - stride / 2, stride, stride);
    }
  }
}

function bestProbability(step, row, column) {
  let best = 0;
  for (let base = 0; base < step.A; base++) best = Math.max(best, probability(step, anchorAt(step, row, column, base)));
  return best;
}

// Returns the colour of a probability, seen through: viridis, even in lightness.
function heatColour(p) {
  const at = within(p, 0, 1) * (VIRIDIS.length - 1), low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  const mixed = VIRIDIS[low].map((value, i) => Math.round(value + (VIRIDIS[low + 1][i] - value) * (at - low)));
  return `rgb(${mixed.join(" ")} / 65%)`;
}

// Draws the picture and the layers that are on.
function drawBelow(step, pen, state, picture) {
  wipe(pen);
  pen.context.drawImage(picture, 0, 0, step.image.width, step.image.height);
  for (const layer of layersOf(step)) {
    if (!state.layers.has(layer.id)) continue;
    if (layer.rule) drawRule(step, pen, layer);
    else layer.draw(step, pen, state);
  }
}

// Draws what follows the mouse and the selection.
function drawAbove(step, pen, state) {
  wipe(pen);
  if (state.pointed) drawCell(step, pen, state.pointed);
  drawSelected(step, pen, state.selected);
}

function drawCell(step, pen, [row, column]) {
  for (let base = 0; base < step.A; base++) {
    strokeBox(pen, anchorBox(step, anchorAt(step, row, column, base)), "#ffffff", 1, { edge: "#00000080" });
  }
  const [x, y] = cellCentre(step, row, column), half = step.grid.stride / 2;
  strokeBox(pen, [x - half, y - half, x + half, y + half], "#ffffff", 2, { edge: "#000000" });
}

function drawSelected(step, pen, k) {
  if (step.learning && isPositive(step, k)) {
    strokeBox(pen, step.objects.learnt[step.learning.matched[k]].box, step.colours.object, 4);
  }
  strokeBox(pen, predictedBox(step, k), step.colours.predicted, 3);
  strokeBox(pen, anchorBox(step, k), "#000000", 2, { dash: [6, 4] });
}
