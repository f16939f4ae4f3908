// The page comes alive: what is selected, what is shown, and what happens on a click or a key.

const byId = (id) => document.getElementById(id);
const step = openData(JSON.parse(byId("data").textContent));
const picture = new Image();
const state = {
  selected: firstAnchor(step),
  pointed: null, // [row, column] under the mouse
  layers: new Set(layersOf(step).filter((layer) => layer.on).map((layer) => layer.id)),
  top: 10,
  addressing: 0, // the timer of the next change of the address
};
if (!step.learning) state.layers.add("after");
const pens = {};
const HOW = "Point at a cell to see its anchors; click it, or press arrow keys, to select one.";

// Returns what to look at first: the dearest positive, the dearest negative, or the best proposal.
function firstAnchor({ notable: { positive, negative, proposal }, K }) {
  return positive ?? negative ?? proposal ?? Math.floor(K / 2);
}

function select(k) {
  state.selected = k;
  showNumbers();
  drawAbove(step, pens.above, state);
  byId("stray").hidden = true;
  // Browsers refuse to change the address thirty times a second, as a key held down would do it.
  clearTimeout(state.addressing);
  state.addressing = setTimeout(writeAddress, 300);
}

// Puts the selected anchor into the address, for whoever copies it.
function writeAddress() {
  const address = new URL(location.href);
  address.hash = `anchor=${state.selected}`;
  history.replaceState(null, "", address);
}

// Returns the anchor that the address chooses; null, and a note if it asks for none there is.
function anchorOfAddress() {
  const wanted = /^#anchor=(\d+)$/.exec(location.hash), isAnchor = wanted && Number(wanted[1]) < step.K;
  byId("stray").hidden = isAnchor || location.hash === "";
  byId("stray").textContent = `The address ends in "${location.hash.slice(0, 40)}", which chooses no anchor: `
    + `#anchor=0 to #anchor=${step.K - 1} would.`;
  return isAnchor ? Number(wanted[1]) : null;
}

function showNumbers() {
  const k = state.selected, { row, column } = placeOf(step, k);
  byId("number").value = k;
  byId("cell").replaceChildren(cellPart(step, k, select));
  byId("panel").replaceChildren(...partsOf(step, k, select));
  byId("said").textContent = `Anchor ${k} in row ${row}, column ${column}`
    + (step.learning ? `: ${labelWord(step, k)}` : "");
  for (const line of byId("batch-rows").children) {
    line.ariaCurrent = line.dataset.anchor === String(k) ? "true" : null;
  }
  showKey();
}

// Says what the boxes of the selected anchor are.
function showKey() {
  const positive = step.learning && isPositive(step, state.selected);
  const lines = [["#000000", "dashed", "the selected anchor"], [step.colours.predicted, "solid", "the box it predicts"]];
  if (positive) lines.push([step.colours.object, "solid", "the object it should"]);
  byId("key").replaceChildren(...lines.map(([colour, kind, text]) =>
    node("span", {}, node("span", { className: "line", style: `border-top:3px ${kind} ${colour}` }), text)));
}

function showHead() {
  const { image, run } = step;
  const scaled = image.scale === 1 ? "" : `, from ${image.original_width} × ${image.original_height}`;
  const drawn = step.learning ? ` The mini-batch was drawn with seed ${run.seed}, the run's own.` : "";
  byId("origin").textContent = `${run.backbone} as it was saved; the picture is ${image.width} × ${image.height} pixels${scaled}, not mirrored.${drawn}`;
  if (step.no_truth) {
    byId("notice").hidden = false;
    byId("notice").textContent = `${step.no_truth}: nothing to learn from. Only anchors, objectness and proposals are shown.`;
  }
}

// Writes eq. 1 in letters and in the numbers of this image.
function showLoss() {
  const { loss, divisors, counts, detail, locations } = step.learning;
  let classes = 0, boxes = 0;
  for (const { classLoss, boxLoss } of detail.values()) {
    classes += classLoss;
    boxes += boxLoss.reduce((a, b) => a + b);
  }
  const { n_cls, n_reg, balance } = divisors;
  byId("loss").hidden = false;
  byId("equation").replaceChildren(
    node("p", {}, math("L = 1/N_cls Σ L_cls(p, p*) + λ/N_reg Σ p* L_reg(t, t*)")),
    node("p", {}, `= 1/${n_cls} × ${say(classes)} + ${say(balance)}/${n_reg} × ${say(boxes)}`),
    node("p", {}, `= ${say(loss.objectness)} + ${say(loss.box)}`));
  const paper = step.run.form === "paper";
  const cards = [
    ["loss", number(loss.total), "loss of this image"],
    ["objectness term", number(loss.objectness), "of it objectness"],
    ["box term", number(loss.box), "of it boxes"],
    ["N_cls", String(n_cls), math(paper ? "N_cls, the size of a mini-batch" : "N_cls, the anchors sampled")],
    ["N_reg", String(n_reg), math(paper ? `N_reg, the cells: ${step.grid.rows} × ${step.grid.columns}` : "N_reg, the anchors sampled")],
    ["lambda", say(balance), "λ"],
    ["positives", sayCount(counts.sampled_positives), `sampled of ${sayCount(counts.positives)} positive anchors`],
    ["negatives", sayCount(counts.sampled_negatives), `sampled of ${sayCount(counts.negatives)} negative anchors`],
  ];
  byId("cards").replaceChildren(...cards.map(([name, value, text]) =>
    node("p", {}, node("strong", { "data-name": name }, value), text)));
}

// Lists the mini-batch; a bar shows how much of the dearest each one costs.
function showBatch() {
  const { batch, label, detail, counts } = step.learning;
  const dearest = batch.length ? cost(step.learning, batch[0]) : 0;
  byId("batch").hidden = false;
  byId("batch-title").textContent = `Mini-batch: ${counts.sampled_positives} positive, ${counts.sampled_negatives} negative; the dearest first`;
  byId("batch-rows").replaceChildren(...batch.map((k) => {
    const [objectness, box] = detail.get(k).contribution, all = objectness + box;
    const length = dearest ? 100 * all / dearest : 0;
    const row = node("tr", {},
      node("th", { scope: "row" }, node("button", { type: "button", className: "link", onclick: () => select(k) }, String(k))),
      node("td", {}, swatch(ruleColour(step, k)),
        node("span", { className: "word" }, label[k] === POSITIVE ? "positive" : "negative")),
      node("td", {}, probability(step, k).toFixed(3)),
      node("td", {}, number(objectness, 3)),
      node("td", {}, number(box, 3)),
      node("td", { className: "bar", style: `--length:${length}%` }, number(all, 3)));
    row.dataset.anchor = k;
    return row;
  }));
}

function showLayers() {
  // What is drawn on top stands on top.
  byId("layers").replaceChildren(...layersOf(step).toReversed().map((layer) => {
    const count = layerCount(step, layer);
    const box = node("input", { type: "checkbox", id: `layer-${layer.id}`, checked: state.layers.has(layer.id) });
    box.addEventListener("change", () => {
      if (box.checked) state.layers.add(layer.id);
      else state.layers.delete(layer.id);
      drawBelow(step, pens.below, state, picture);
    });
    const colour = step.colours[layer.id] ?? `linear-gradient(90deg, ${VIRIDIS.map((rgb) => `rgb(${rgb.join(" ")})`).join(", ")})`;
    return node("label", {}, box, swatch(colour), layerName(step, layer), node("span", { className: "count" }, count === null ? "" : sayCount(count)));
  }));
  byId("top").value = state.top;
  byId("top-said").textContent = state.top;
}

// Returns the cell under a mouse event.
function cellUnder(event) {
  const { px, left, top } = pens.above;
  return cellAt(step, event.offsetX * px + left, event.offsetY * px + top);
}

function point(cell) {
  state.pointed = cell;
  byId("pointed").textContent = cell ? `Under the mouse: the anchors of cell (${cell[0]}, ${cell[1]})` : HOW;
  drawAbove(step, pens.above, state);
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

// Moves the selection by a cell and keeps its base anchor.
function onKey(event) {
  const move = ARROWS[event.key];
  if (!move) return;
  event.preventDefault();
  const { row, column, base } = placeOf(step, state.selected), { rows, columns } = step.grid;
  select(anchorAt(step, within(row + move[0], 0, rows - 1), within(column + move[1], 0, columns - 1), base));
}

function listen() {
  const above = byId("above");
  above.addEventListener("pointermove", (event) => event.pointerType === "mouse" && point(cellUnder(event)));
  above.addEventListener("pointerleave", () => point(null));
  above.addEventListener("click", (event) => select(mostTelling(step, ...cellUnder(event))));
  above.addEventListener("keydown", onKey);
  byId("top").addEventListener("input", (event) => {
    state.top = Number(event.target.value);
    byId("top-said").textContent = state.top;
    drawBelow(step, pens.below, state, picture);
  });
  byId("number").max = step.K - 1;
  byId("go").addEventListener("submit", (event) => {
    event.preventDefault();
    select(within(Math.floor(Number(byId("number").value)), 0, step.K - 1));
  });
  window.addEventListener("hashchange", () => {
    const k = anchorOfAddress();
    if (k !== null) select(k);
  });
}

// Fits both canvases to the room there is, and draws them.
function fit() {
  const width = byId("frame").clientWidth;
  pens.below = penFor(byId("below"), step, width);
  pens.above = penFor(byId("above"), step, width);
  drawBelow(step, pens.below, state, picture);
  drawAbove(step, pens.above, state);
}

function start() {
  const { left, top, right, bottom } = viewOf(step);
  byId("frame").style.setProperty("--aspect", (right - left) / (bottom - top));
  showHead();
  showLayers();
  if (step.learning) {
    showLoss();
    showBatch();
  }
  state.selected = anchorOfAddress() ?? state.selected;
  showNumbers();
  byId("pointed").textContent = HOW;
  fit();
  listen();
  new ResizeObserver(fit).observe(byId("frame"));
  document.body.dataset.ready = "yes"; // for whoever waits for the picture to be drawn
}

picture.addEventListener("load", start);
picture.src = step.image.uri;
