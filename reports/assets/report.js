// Draws the grid of pairs from the data block. No arithmetic beyond turning a sign round: votes and sort keys come ready.
(() => {
  "use strict";
  const failed = (message) => document.documentElement.setAttribute("data-error", message);
  addEventListener("error", (event) => failed(event.message));
  addEventListener("securitypolicyviolation", (event) => failed(`policy: ${event.violatedDirective} ${event.blockedURI}`));

  const BATCH = 24;
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const controls = { left: $("left"), right: $("right"), sort: $("sort"), q: $("query") };
  const state = { left: data.left, right: data.right, show: BATCH };

  const node = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const whole = (number) => number.toLocaleString("en");

  data.checkpoints.forEach((name, index) => {
    controls.left.append(new Option(name, String(index)));
    controls.right.append(new Option(name, String(index)));
  });

  // The stored pair is (later, earlier); turn is -1 where the page shows it the other way round.
  const pairOf = (left, right) =>
    right > left ? { turn: 1, ...data.pairs[`${right},${left}`] } : { turn: -1, ...data.pairs[`${left},${right}`] };
  const sign = (text, unit, turn) => ({ "-": -1, "0": 0, x: 0, "+": 1 })[text[unit]] * turn;

  const keys = {
    worst: (pair) => (unit) => pair.margin[unit] * pair.turn,
    best: (pair) => (unit) => -pair.margin[unit] * pair.turn,
    fight: (pair) => (unit) => -pair.doubt[unit],
    against: (pair) => (unit) => -pair.against[unit],
    order: () => (unit) => unit,
  };

  const chosen = () => {
    const pair = pairOf(state.left, state.right);
    const key = keys[controls.sort.value](pair);
    const words = controls.q.value.trim().toLowerCase();
    const units = data.units.map((_, unit) => unit);
    return {
      pair,
      units: units.filter((unit) => data.units[unit].prompt.toLowerCase().includes(words)).sort((a, b) => key(a) - key(b) || a - b),
    };
  };

  const picture = (unit, checkpoint, won) => {
    const name = data.checkpoints[checkpoint];
    const figure = node("figure", won ? "won" : "");
    const uri = data.images[unit] && data.images[unit][checkpoint];
    if (uri) {
      const image = node("img", data.pixelated ? "pixels" : "");
      image.alt = `${name}: ${data.units[unit].prompt}`;
      image.decoding = "async";
      image.src = uri;
      figure.append(image);
    } else if (data.images[unit]) {
      figure.append(node("p", "absent", "no picture"));
    }
    const caption = node("figcaption");
    caption.title = name;
    caption.append(node("span", "label", name));
    if (won) caption.append(node("span", "tick", "✓ vote"));
    figure.append(caption);
    return figure;
  };

  const scoreRow = (unit, pair, index) => {
    const scorer = data.scorers[index];
    const barred = pair.barred.includes(index);
    const verdict = sign(pair.votes[index], unit, pair.turn);
    const row = node("tr", [scorer.votes ? "" : "held", barred ? "barred" : ""].filter(Boolean).join(" "));
    const cell = (checkpoint, won, side) => {
      const made = node("td", won ? `${side} won` : side);
      const value = node("span", "", data.scores[checkpoint][index][unit]);
      const tick = node("span", "tick", won ? "✓" : "");
      made.append(...(side === "from" ? [value, tick] : [tick, value]));
      return made;
    };
    const head = node("th", "", scorer.name);
    head.scope = "row";
    head.title = [scorer.name, scorer.votes ? "" : "held out, no vote", scorer.blind ? "does not read the prompt" : "", barred ? "trained against: does not vote" : ""].filter(Boolean).join(", ");
    if (barred) head.append(node("small", "", "trained against"));
    row.append(cell(state.left, verdict < 0, "from"), head, cell(state.right, verdict > 0, "to"));
    return row;
  };

  const tally = (unit, pair) => {
    const votes = data.scorers.map((scorer, index) => (scorer.votes && !pair.barred.includes(index) ? sign(pair.votes[index], unit, pair.turn) : null));
    const left = votes.filter((vote) => vote === -1).length;
    const right = votes.filter((vote) => vote === 1).length;
    const tied = votes.filter((vote) => vote === 0).length;
    const majority = sign(pair.vote, unit, pair.turn);
    const who = majority ? data.checkpoints[majority > 0 ? state.right : state.left] : "";
    const line = node("p", "tally");
    line.append(node("span", "score", majority > 0 ? `${right}–${left}` : `${left}–${right}`), node("span", "", who ? ` for ${who}` : pair.vote[unit] === "x" ? ", left out of the vote" : ", a tie"));
    if (tied) line.append(node("span", "soft", ` (${tied} tied)`));
    return line;
  };

  const card = (unit, pair) => {
    const about = data.units[unit];
    const majority = sign(pair.vote, unit, pair.turn);
    const made = node("article", "pair");
    const figures = node("div", "figures");
    figures.append(picture(unit, state.left, majority < 0), picture(unit, state.right, majority > 0));
    const prompt = node("p", "prompt", about.prompt);
    prompt.dir = "auto";
    const left_out = data.pictures && !data.images[unit] ? "pictures not embedded" : "";
    const details = [about.id, about.seed === null ? "" : `seed ${about.seed}`, about.category, left_out].filter(Boolean).join(" · ");
    const small = node("p", "soft about", details);
    small.dir = "auto";
    const table = node("table");
    data.scorers.forEach((_, index) => table.append(scoreRow(unit, pair, index)));
    made.append(figures, prompt, small, table, tally(unit, pair));
    made.dataset.unit = about.id;
    return made;
  };

  const draw = () => {
    controls.left.value = String(state.left);
    controls.right.value = String(state.right);
    const { pair, units } = chosen();
    $("grid").replaceChildren(...units.slice(0, state.show).map((unit) => card(unit, pair)));
    $("status").textContent = units.length ? `${whole(Math.min(state.show, units.length))} of ${whole(units.length)} pairs` : "no prompt contains this";
    $("more").hidden = state.show >= units.length;
  };

  // The address keeps the choice, so that a link shows what its sender saw: #left=..&right=..&sort=..&q=..&show=..
  const remember = () => {
    const parts = new URLSearchParams({
      left: data.checkpoints[state.left],
      right: data.checkpoints[state.right],
      sort: controls.sort.value,
    });
    if (controls.q.value.trim()) parts.set("q", controls.q.value.trim());
    if (state.show > BATCH) parts.set("show", String(state.show));
    history.replaceState(null, "", `#${parts}`);
  };

  const recall = () => {
    if (!location.hash.includes("=")) return false;
    const parts = new URLSearchParams(location.hash.slice(1));
    const left = data.checkpoints.indexOf(parts.get("left"));
    const right = data.checkpoints.indexOf(parts.get("right"));
    if (left >= 0 && right >= 0 && left !== right) Object.assign(state, { left, right });
    if ([...controls.sort.options].some((option) => option.value === parts.get("sort"))) controls.sort.value = parts.get("sort");
    controls.q.value = parts.get("q") || "";
    const show = Number(parts.get("show"));
    state.show = Number.isInteger(show) && show > 0 ? show : BATCH;
    return true;
  };

  // Choosing the same checkpoint on both sides swaps them: a pair is always two.
  const choose = (side, other) => () => {
    const value = Number(controls[side].value);
    if (state[other] === value) state[other] = state[side];
    state[side] = value;
    state.show = BATCH;
    draw();
    remember();
  };
  controls.left.addEventListener("change", choose("left", "right"));
  controls.right.addEventListener("change", choose("right", "left"));
  for (const control of [controls.sort, controls.q]) {
    control.addEventListener("input", () => {
      state.show = BATCH;
      draw();
      remember();
    });
  }
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("more").addEventListener("click", () => {
    state.show += BATCH;
    draw();
    remember();
  });
  addEventListener("hashchange", () => recall() && draw());

  const csv = () => {
    const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const lines = [...$("comparisons").rows].map((row) => [...row.cells].map((cell) => quoted(cell.textContent)).join(","));
    return new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv;charset=utf-8" });
  };
  $("csv").href = URL.createObjectURL(csv());
  $("csv").hidden = false;

  const linked = recall();
  draw();
  if (linked) $("pictures").scrollIntoView();
  document.documentElement.setAttribute("data-ready", "yes");
})();
