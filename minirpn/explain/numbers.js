"use strict";
// What follows from the data alone: arrays, anchors, boxes. Nothing here touches the page.

const TYPES = { int8: Int8Array, int16: Int16Array, int32: Int32Array, float32: Float32Array };

// Returns the typed array that Python packed: its little-endian bytes in base64.
function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.base64), (letter) => letter.charCodeAt(0));
  return new TYPES[packed.type](bytes.buffer);
}

// Returns the rows of a packed (n, width) array, each a plain array.
function unpackRows(packed) {
  const flat = unpack(packed), width = packed.shape[1];
  return Array.from({ length: packed.shape[0] }, (_, i) =>
    Array.from(flat.subarray(i * width, (i + 1) * width)));
}

// Returns the data of the page with its arrays unpacked.
function openData(data) {
  const step = { ...data, A: data.grid.base.length };
  step.K = data.grid.rows * data.grid.columns * step.A;
  step.scores = data.outputs.objectness.shape[1];
  step.objectness = unpack(data.outputs.objectness);
  step.deltas = unpack(data.outputs.deltas);
  step.candidates = unpack(data.proposals.anchors);
  step.fates = unpack(data.proposals.fates);
  step.rankOf = new Map(Array.from(step.candidates, (k, rank) => [k, rank]));
  step.kept = Array.from(step.fates.keys()).filter((rank) => step.fates[rank] === KEPT);
  step.learning = data.learning && openLearning(data.learning);
  return step;
}

const KEPT = -1, NOT_REACHED = -2; // fates of candidates, as minirpn.explain.step has them
const POSITIVE = 1, NEGATIVE = 0, IGNORE = -1; // labels, as minirpn.rpn.targets has them

function openLearning(data) {
  const learning = { ...data };
  for (const name of ["rule", "max_iou", "matched", "best_of", "label"]) learning[name] = unpack(data[name]);
  const anchors = unpack(data.detail.anchors);
  const targets = unpackRows(data.detail.targets);
  const contributions = unpackRows(data.detail.contributions);
  const classLosses = unpack(data.detail.class_losses);
  const boxLosses = unpackRows(data.detail.box_losses);
  const dobjectness = unpackRows(data.detail.dobjectness);
  const ddeltas = unpackRows(data.detail.ddeltas);
  learning.detail = new Map(Array.from(anchors, (k, i) => [k, {
    target: targets[i], classLoss: classLosses[i], boxLoss: boxLosses[i],
    contribution: contributions[i], dobjectness: dobjectness[i], ddeltas: ddeltas[i],
  }]));
  learning.batch = Array.from(anchors).filter((k) => learning.label[k] !== IGNORE);
  learning.batch.sort((a, b) => cost(learning, b) - cost(learning, a) || a - b);
  return learning;
}

// Returns what an anchor of the mini-batch adds to the loss.
function cost(learning, k) {
  const [objectness, box] = learning.detail.get(k).contribution;
  return objectness + box;
}

// Returns where anchor k stands: K counts rows, then columns, then base anchors.
function placeOf(step, k) {
  const base = k % step.A, cell = (k - base) / step.A;
  return { base, column: cell % step.grid.columns, row: Math.floor(cell / step.grid.columns) };
}

// Returns the number of an anchor; inverse of placeOf.
function anchorAt(step, row, column, base) {
  return (row * step.grid.columns + column) * step.A + base;
}

function anchorBox(step, k) {
  const { row, column, base } = placeOf(step, k);
  const dx = column * step.grid.stride, dy = row * step.grid.stride;
  const [x1, y1, x2, y2] = step.grid.base[base].box;
  return [x1 + dx, y1 + dy, x2 + dx, y2 + dy];
}

// Returns the centre of the anchors of a cell.
function cellCentre(step, row, column) {
  const [x1, y1, x2, y2] = anchorBox(step, anchorAt(step, row, column, 0));
  return [(x1 + x2) / 2, (y1 + y2) / 2];
}

// Returns [row, column] of the cell whose anchors are centred nearest to a point.
function cellAt(step, x, y) {
  const [x0, y0] = cellCentre(step, 0, 0), { stride, rows, columns } = step.grid;
  return [within(Math.round((y - y0) / stride), 0, rows - 1), within(Math.round((x - x0) / stride), 0, columns - 1)];
}

function within(value, least, most) {
  return Math.min(Math.max(value, least), most);
}

function deltasOf(step, k) {
  return Array.from(step.deltas.subarray(4 * k, 4 * k + 4));
}

// Returns the box that deltas t lead to from an anchor: eq. 2 solved for x, y, w, h.
function decode([x1, y1, x2, y2], [tx, ty, tw, th]) {
  const wa = x2 - x1, ha = y2 - y1;
  const x = tx * wa + (x1 + x2) / 2, y = ty * ha + (y1 + y2) / 2;
  const w = Math.exp(tw) * wa, h = Math.exp(th) * ha;
  return [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
}

function predictedBox(step, k) {
  return decode(anchorBox(step, k), deltasOf(step, k));
}

function clip([x1, y1, x2, y2], { width, height }) {
  return [within(x1, 0, width), within(y1, 0, height), within(x2, 0, width), within(y2, 0, height)];
}

// Returns the box an anchor proposes: predicted, cut off at the border.
function proposalBox(step, k) {
  return clip(predictedBox(step, k), step.image);
}

function area([x1, y1, x2, y2]) {
  return Math.max(0, x2 - x1) * Math.max(0, y2 - y1);
}

function iou(a, b) {
  const both = area([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
  return both === 0 ? 0 : both / (area(a) + area(b) - both);
}

// Returns what the head says of an anchor: (background, object), or one logit.
function scoresOf(step, k) {
  return Array.from(step.objectness.subarray(step.scores * k, step.scores * (k + 1)));
}

// Returns p, the probability of an object: the softmax of two scores is the logistic function of
// their difference.
function probability(step, k) {
  const scores = scoresOf(step, k);
  const logit = scores.length === 2 ? scores[1] - scores[0] : scores[0];
  return 1 / (1 + Math.exp(-logit));
}

// Returns the anchor of a cell that tells most: learnt from before left out, positive before
// negative, and of those the one that overlaps an object most (or proposes with the highest p).
function mostTelling(step, row, column) {
  const learning = step.learning;
  const keys = Array.from({ length: step.A }, (_, base) => {
    const k = anchorAt(step, row, column, base);
    if (!learning) return [k, probability(step, k)];
    const sampled = learning.label[k] !== IGNORE, positive = isPositive(step, k);
    return [k, 4 * positive + 2 * sampled + learning.max_iou[k]];
  });
  return keys.reduce((best, key) => (key[1] > best[1] ? key : best))[0];
}

function isPositive(step, k) {
  const { rules, rule } = step.learning;
  return [rules.by_iou, rules.by_best, rules.by_both].includes(rule[k]);
}

// Returns a number to five digits, or another count of them, in a short way.
function say(value, digits = 5) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size < 1e-3 || size >= 1e7 ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
}

function sayCount(value) {
  return value.toLocaleString("en");
}

function sayBox(box) {
  return `(${box.map((value) => String(Number(value.toFixed(1)))).join(", ")})`;
}
