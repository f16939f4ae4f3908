// The numbers of one anchor, as pieces of the page. All text goes in as text, never as markup.

// Returns an element with these properties and children; strings become text.
function node(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name.startsWith("aria-") || name === "data-name" || name === "scope") made.setAttribute(name, value);
    else if (name === "style") made.style.cssText = value;
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

// Returns text in which _cls and _reg stand lower and * higher: formulas are written "L_cls(t*)".
function math(text) {
  const made = node("span", { className: "math" });
  for (const piece of text.split(/(_\w+|\*)/)) {
    if (piece.startsWith("_")) made.append(node("sub", {}, piece.slice(1)));
    else made.append(piece === "*" ? node("sup", {}, "*") : piece);
  }
  return made;
}

// Returns a number in few digits, which shows all of them when pointed at.
function number(value, digits) {
  return node("span", { title: String(value) }, say(value, digits));
}

// Returns a table of quantities; a row is [name, value, remark], and its name finds the value.
function quantities(rows) {
  return node("table", { className: "quantities" }, node("tbody", {}, ...rows.map(([name, value, remark = ""]) =>
    node("tr", {},
      node("th", { scope: "row" }, math(name)),
      node("td", { "data-name": name }, typeof value === "number" ? number(value) : value),
      node("td", { className: "faint" }, remark)))));
}

function part(title, ...content) {
  return node("section", { className: "part" }, node("h3", {}, title), ...content);
}

function swatch(colour) {
  return node("span", { className: "swatch", style: `background:${colour}` });
}

// Returns all that is known of an anchor, one part after the other.
function partsOf(step, k, select) {
  const parts = [wherePart(step, k)];
  if (step.learning) parts.push(labelPart(step, k));
  parts.push(objectnessPart(step, k), boxPart(step, k));
  if (step.learning) parts.push(costPart(step, k));
  parts.push(proposalPart(step, k, select));
  return parts;
}

function wherePart(step, k) {
  const { row, column, base } = placeOf(step, k), { ratio, scale } = step.grid.base[base];
  const { rows, columns } = step.grid, box = anchorBox(step, k);
  return part("Anchor", quantities([
    ["k", String(k), `(${row} × ${columns} + ${column}) × ${step.A} + ${base}, of ${sayCount(step.K)}`],
    ["cell", `row ${row}, column ${column}`, `of ${rows} × ${columns}`],
    ["base anchor", String(base), `ratio ${ratio}, scale ${scale}`],
    ["sides", `${say(box[2] - box[0])} × ${say(box[3] - box[1])}`, "pixels"],
    ["box", sayBox(box)],
  ]));
}

function labelPart(step, k) {
  const { max_iou, matched, label } = step.learning;
  const object = matched[k] < 0 ? "there are no objects" : `with object ${objectName(step, matched[k])}`;
  const sampled = label[k] !== IGNORE;
  return part("Label", quantities([
    ["highest IoU", max_iou[k], max_iou[k] === 0 && matched[k] >= 0 ? "it touches no object" : object],
    ["label", labelWord(step, k), node("span", {}, swatch(ruleColour(step, k)), reason(step, k))],
    ["sampled", sampled ? "yes" : "no", sampled ? "in the mini-batch" : "costs nothing, has no gradient"],
  ]));
}

function objectName(step, index) {
  return `${index + 1} (${step.objects.learnt[index].name})`;
}

function labelWord(step, k) {
  if (isPositive(step, k)) return "positive";
  return step.learning.rule[k] === step.learning.rules.negative ? "negative" : "ignored";
}

function ruleColour(step, k) {
  const layer = LAYERS.find((candidate) => candidate.rule && hasRule(step, candidate, step.learning.rule[k]));
  return step.colours[layer.id];
}

// Returns why an anchor has its label (section 3.1.2).
function reason(step, k) {
  const { rules, rule, best_of } = step.learning, { positive_iou: high, negative_iou: low } = step.run;
  const best = `it is a best anchor of object ${best_of[k] < 0 ? "" : objectName(step, best_of[k])}`;
  return {
    [rules.by_iou]: `rule (ii): IoU ≥ ${high}`,
    [rules.by_best]: `rule (i): ${best}`,
    [rules.by_both]: `rules (i) and (ii): ${best}, and IoU ≥ ${high}`,
    [rules.negative]: `IoU below ${low} with all objects`,
    [rules.between]: `neither positive nor below ${low}`,
    [rules.outside]: "it crosses the border of the picture",
    [rules.on_ignored]: "it lies on an ignored region, which is neither an object nor background",
  }[rule[k]];
}

function objectnessPart(step, k) {
  const scores = scoresOf(step, k), p = probability(step, k), two = scores.length === 2;
  const names = two ? ["background score", "object score"] : ["logit"];
  const rows = scores.map((score, i) => [names[i], score]);
  rows.push(["p", p, two ? "softmax: probability of an object" : "logistic function of the logit"]);
  const detail = sampledDetail(step, k);
  if (detail) {
    const positive = step.learning.label[k] === POSITIVE;
    rows.push(["p*", positive ? "1" : "0"]);
    rows.push(["L_cls", detail.classLoss, positive ? "−log p" : "−log(1 − p)"]);
    detail.dobjectness.forEach((slope, i) => rows.push([`dL/d ${names[i].replace(" score", "")}`, slope,
      math(two && i === 0 ? "(p* − p) / N_cls" : "(p − p*) / N_cls")]));
  }
  return part("Objectness", quantities(rows));
}

// Returns the loss and the gradients of an anchor, null where it was not sampled.
function sampledDetail(step, k) {
  return step.learning && step.learning.label[k] !== IGNORE ? step.learning.detail.get(k) : null;
}

function boxPart(step, k) {
  const box = predictedBox(step, k), learning = step.learning;
  const rows = [["predicted box", sayBox(box), "by eq. 2 from anchor and t"]];
  const positive = learning && isPositive(step, k);
  if (positive) {
    const object = step.objects.learnt[learning.matched[k]];
    rows.push(["object", sayBox(object.box), objectName(step, learning.matched[k])]);
    rows.push(["IoU with object", iou(box, object.box), `the anchor's was ${say(learning.max_iou[k])}`]);
  }
  const content = [node("div", { className: "wide" }, coordinates(step, k, positive)), quantities(rows)];
  if (learning && !positive) content.push(node("p", { className: "faint" },
    math("p* is 0 or unasked: no box is wanted of this anchor, so L_reg and its gradient are 0.")));
  return part("Box", ...content);
}

// Returns the table of the four coordinates: t, and what is asked of it and comes of that.
function coordinates(step, k, positive) {
  const t = deltasOf(step, k), detail = step.learning && step.learning.detail.get(k);
  const columns = [["", ["x", "y", "w", "h"]], ["t", t]];
  if (positive) {
    columns.push(["t*", detail.target], ["t − t*", t.map((value, i) => value - detail.target[i])]);
    if (sampledDetail(step, k)) columns.push(["L_reg", detail.boxLoss], ["dL/dt", detail.ddeltas]);
  }
  const head = node("tr", {}, ...columns.map(([name]) => node("th", { scope: "col" }, math(name))));
  const body = [0, 1, 2, 3].map((i) => node("tr", {}, ...columns.map(([name, values], c) =>
    c === 0 ? node("th", { scope: "row" }, values[i])
      : node("td", { "data-name": `${name} ${columns[0][1][i]}` }, number(values[i], 4)))));
  return node("table", { className: "coordinates" }, node("thead", {}, head), node("tbody", {}, ...body));
}

function costPart(step, k) {
  const detail = sampledDetail(step, k), { divisors, loss } = step.learning;
  if (!detail) {
    return part("What it adds to the loss", node("p", { className: "faint" }, "Nothing: it is not in the mini-batch."));
  }
  const [objectness, box] = detail.contribution, sum = detail.boxLoss.reduce((a, b) => a + b);
  const share = loss.total === 0 ? 0 : (objectness + box) / loss.total;
  return part("What it adds to the loss", quantities([
    ["L_cls / N_cls", objectness, `${say(detail.classLoss)} / ${divisors.n_cls}`],
    ["λ p* L_reg / N_reg", box, `${say(divisors.balance)} × ${say(sum)} / ${divisors.n_reg}`],
    ["together", objectness + box, `${say(100 * share, 3)} % of the loss`],
  ]));
}

function proposalPart(step, k, select) {
  const rank = step.rankOf.get(k), box = quantities([["proposes", sayBox(proposalBox(step, k)), "cut off at the border"]]);
  return part("Proposal", box, node("p", { "data-name": "fate" }, ...fate(step, k, rank, select)));
}

// Returns what became of an anchor's box on its way to the proposals.
function fate(step, k, rank, select) {
  const { pre_nms, min_size, nms_iou, post_nms } = step.run;
  if (rank === undefined) {
    return [`Not a candidate: a side is below ${say(min_size * step.image.scale)} pixels, or ${sayCount(pre_nms)} others score higher.`];
  }
  const place = `Candidate ${sayCount(rank + 1)} of ${sayCount(step.candidates.length)} by p; `;
  if (step.fates[rank] === KEPT) return [`${place}stays after NMS, as proposal ${step.kept.indexOf(rank) + 1}.`];
  if (step.fates[rank] === NOT_REACHED) return [`${place}not reached: the ${sayCount(post_nms)} proposals were complete before.`];
  const winner = step.candidates[step.fates[rank]];
  const overlap = iou(proposalBox(step, k), proposalBox(step, winner));
  const link = node("button", { type: "button", className: "link", onclick: () => select(winner) }, `anchor ${winner}`);
  return [`${place}suppressed by the better box of `, link, `, with which its IoU is ${say(overlap)}, above ${nms_iou}.`];
}

// Returns the anchors of a cell as buttons: rows are ratios, columns are scales.
function cellPart(step, k, select) {
  const { row, column } = placeOf(step, k);
  const buttons = Array.from({ length: step.A }, (_, base) => {
    const other = anchorAt(step, row, column, base), [x1, y1, x2, y2] = step.grid.base[base].box;
    const colour = step.learning ? ruleColour(step, other) : heatColour(probability(step, other));
    const label = step.learning ? `, ${labelWord(step, other)}` : "";
    return node("button", {
      type: "button", "aria-pressed": String(other === k),
      onclick: () => select(other), "aria-label": `base anchor ${base}: ${say(x2 - x1)} by ${say(y2 - y1)} pixels${label}`,
    }, node("span", {}, swatch(colour), `${say(x2 - x1)} × ${say(y2 - y1)}`), node("span", { className: "faint" }, `p ${probability(step, other).toFixed(3)}`));
  });
  return part(`The anchors of cell (${row}, ${column})`,
    node("div", { className: "cell", style: `--columns:${step.grid.scales}` }, ...buttons));
}
