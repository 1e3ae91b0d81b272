// The journal explorer. It keeps nothing: what it shows was asked of the kernel, and everything that came from a journal
// (names, values, errors, outputs) is put into the page as text, never as HTML. The one exception, HTML that a step
// displayed, goes into a sandboxed frame without scripts and without a network.

const WAIT = 1000; // ms until it is said that the kernel is busy
const ROW = 28; // px, as in explorer.css
const FEW = 200; // so many entries of a group that a search has found are shown at once
const FILTERS = [
  ["current", "current steps"], ["ran", "ran last time"], ["replayed", "replayed last time"],
  ["failed", "failed or unfinished"], ["history", "history"], ["all", "everything"],
];
const SORTS = [["order", "in order"], ["took", "longest first"], ["size", "largest first"], ["began", "newest first"]];
const TONES = {
  done: "good", replayed: "pale", completed: "good", running: "ran", failed: "bad", damaged: "bad", untrusted: "wait", interrupted: "wait", cancelled: "wait",
  "cut off": "wait", killed: "wait", waiting: "wait", asking: "wait", sleeping: "wait", "not storable": "wait", "changed its input": "wait",
};
const KINDS = [["ran", "ran"], ["replayed", "replayed (as long as it took then)"], ["failed", "failed"], ["wait", "waiting"]];

// --- elements and texts ---------------------------------------------------------------------

/** Make an element. Texts become text nodes; attributes are set one by one, and never one that could run something. */
function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (/^(href|src|srcdoc|style|on.*)$/.test(name)) throw new Error(`${name} is not set from here`);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function button(label, action, act, more = {}) {
  return h("button", { type: "button", "data-action": action, on: { click: act }, ...more }, label);
}

function duration(seconds) {
  if (seconds < 0.0995) return `${(seconds * 1000).toFixed(0)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

function size(count) {
  if (count < 1000) return `${count} B`;
  let value = count;
  for (const unit of ["kB", "MB", "GB", "TB"]) {
    value /= 1000;
    if (value < 999.5) return `${value.toFixed(value >= 99.5 ? 0 : 1)} ${unit}`;
  }
  return `${value.toFixed(0)} TB`;
}

function when(seconds) {
  if (!seconds) return "";
  const moment = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const day = `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
  return `${day} ${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}`;
}

const times = (name, count) => `${name} × ${count.toLocaleString("en")}`;
const many = (count, one, more = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : more}`;
const clock = (seconds) => (when(seconds).slice(0, 10) === when(Date.now() / 1000).slice(0, 10) ? when(seconds).slice(11) : when(seconds).slice(5, 16));
const text = (value) => (typeof value === "string" ? value : Array.isArray(value) ? value.map(text).join("") : value === null || value === undefined ? "" : JSON.stringify(value));

/** A state is told by its word and a coloured dot. */
function stateOf(state, title) {
  return h("span", { class: "nbd-state", "data-tone": TONES[state], title }, state);
}

// --- asking the kernel ----------------------------------------------------------------------

class Kernel {
  constructor(model, onWait) {
    this.model = model;
    this.onWait = onWait;
    this.open = new Map();
    // Several views of one model get all answers: their numbers must not meet.
    this.next = Math.floor(Math.random() * 2 ** 40);
    this.take = (message) => this.taken(message);
    model.on("msg:custom", this.take);
  }

  ask(request) {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.onWait(true), WAIT);
      this.open.set(id, { resolve, reject, timer });
      this.model.send({ ...request, id });
    });
  }

  taken(message) {
    const waiting = message?.kind === "answer" ? this.open.get(message.id) : undefined;
    if (!waiting) return;
    this.open.delete(message.id);
    clearTimeout(waiting.timer);
    if (this.open.size === 0) this.onWait(false);
    if (message.error) waiting.reject(new Error(message.error));
    else waiting.resolve(message);
  }

  close() {
    this.model.off("msg:custom", this.take);
    for (const { timer } of this.open.values()) clearTimeout(timer);
    this.open.clear();
  }
}

// --- a long list: only the rows in sight are in the page ------------------------------------

class LongList {
  constructor(node, makeRow) {
    this.node = node;
    this.makeRow = makeRow;
    this.items = [];
    this.at = 0; // the row that the keyboard is on
    this.window = h("div", { class: "nbd-window" });
    node.append(this.window);
    node.addEventListener("scroll", () => this.draw());
    node.addEventListener("keydown", (event) => this.key(event));
    node.addEventListener("focusin", (event) => this.focused(event.target));
  }

  show(items) {
    this.items = items;
    this.at = Math.min(this.at, Math.max(0, items.length - 1));
    this.window.style.height = `${items.length * ROW}px`;
    this.draw();
  }

  draw() {
    const height = this.node.clientHeight || 340;
    const first = Math.max(0, Math.floor(this.node.scrollTop / ROW) - 6);
    const last = Math.min(this.items.length, Math.ceil((this.node.scrollTop + height) / ROW) + 6);
    const hadFocus = this.window.contains(document.activeElement);
    const rows = [];
    for (let place = first; place < last; place++) rows.push(this.row(place));
    this.window.replaceChildren(...rows);
    if (hadFocus) this.rowAt(this.at)?.focus({ preventScroll: true });
  }

  row(place) {
    const row = this.makeRow(this.items[place], place);
    row.style.top = `${place * ROW}px`;
    row.dataset.place = place;
    row.tabIndex = place === this.at ? 0 : -1;
    return row;
  }

  rowAt(place) {
    return this.window.querySelector(`[data-place="${place}"]`);
  }

  focused(target) {
    const place = target.closest?.("[data-place]")?.dataset.place;
    if (place === undefined) return;
    const before = this.rowAt(this.at);
    if (before) before.tabIndex = -1;
    this.at = Number(place);
    target.tabIndex = 0;
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.node.clientHeight / ROW) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(event.key in moves) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.go(Math.min(this.items.length - 1, Math.max(0, this.at + moves[event.key])));
  }

  go(place) {
    this.reveal(place);
    this.at = place;
    this.draw();
    this.rowAt(place)?.focus({ preventScroll: true });
  }

  /** Scroll so that a row is the first one in sight, and put the keyboard there. */
  top(place) {
    this.node.scrollTop = place * ROW;
    this.go(place);
  }

  reveal(place) {
    const top = place * ROW, height = this.node.clientHeight;
    if (top < this.node.scrollTop) this.node.scrollTop = top;
    else if (top + ROW > this.node.scrollTop + height) this.node.scrollTop = top + ROW - height;
  }
}

// --- the list of runs -----------------------------------------------------------------------

class Runs {
  constructor(explorer) {
    this.explorer = explorer;
    this.unfolded = new Set();
    this.node = h("div", { class: "nbd-runs", role: "group", "aria-label": "Runs; arrow keys go up and down" });
    this.node.addEventListener("keydown", (event) => moveAmong(event, [...this.node.querySelectorAll("button")], 1));
  }

  async refresh() {
    const answer = await this.explorer.kernel.ask({ do: "runs" });
    this.location = answer.location;
    this.explorer.distrust(answer.untrusted);
    this.runs = answer.runs;
    this.draw();
  }

  draw() {
    const titles = ["run", "state", "steps", "last executed", "took", "size"];
    const head = h("div", { class: "nbd-row nbd-columns", "aria-hidden": "true" },
      titles.map((title, place) => h("span", { class: place > 3 ? "nbd-right" : null }, title)));
    const rows = this.runs.filter((run) => !run.archived).flatMap((run) => this.group(run));
    // Runs whose successor was forgotten are archived and nobody's: they must not be out of reach.
    const orphans = this.runs.filter((run) => run.archived && !this.runs.some((one) => !one.archived && one.name === run.name));
    rows.push(...orphans.map((run) => this.row(run)));
    this.node.replaceChildren(...(rows.length ? [head, ...rows] : [h("div", { class: "nbd-empty" }, "No runs yet.")]));
  }

  group(run) {
    const older = this.runs.filter((one) => one.archived && one.name === run.name);
    if (!older.length) return [this.row(run)];
    const open = this.unfolded.has(run.name);
    const fold = button(`${open ? "▾" : "▸"} ${many(older.length, "archived run")}`, "archived", () => {
      if (!this.unfolded.delete(run.name)) this.unfolded.add(run.name);
      this.draw();
    }, { class: "nbd-quiet nbd-fold", "aria-expanded": String(open), "data-archived": run.name });
    return [this.row(run), fold, ...(open ? older.map((one) => this.row(one)) : [])];
  }

  row(run) {
    const steps = run.finished === run.steps ? String(run.steps) : `${run.finished} of ${run.steps}`;
    const executions = run.executions > 1 ? ` · ${run.executions} executions` : "";
    const name = run.archived ? `${run.name} · run ${run.number}` : run.name;
    return h("button", { type: "button", class: `nbd-row nbd-run${run.archived ? " nbd-archived" : ""}`, "data-run": run.name,
      "data-number": run.number, "data-archived": run.archived, on: { click: () => this.explorer.openRun(run.run) } },
      h("span", { class: "nbd-name", title: name }, name), stateOf(run.state),
      h("span", { class: "nbd-number", title: `${steps} steps${executions}` }, steps),
      h("span", { class: "nbd-number", title: `first executed ${when(run.began)}${executions}` }, when(run.last).slice(0, 16)),
      h("span", { class: "nbd-right nbd-number" }, duration(run.took)),
      h("span", { class: "nbd-right nbd-number" }, size(run.size)));
  }
}

/** Arrow keys among buttons. */
function moveAmong(event, nodes, step) {
  const keys = { ArrowDown: step, ArrowUp: -step, ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
  const here = nodes.indexOf(document.activeElement);
  if (!(event.key in keys) || here < 0) return;
  event.preventDefault();
  nodes[Math.min(nodes.length - 1, Math.max(0, here + keys[event.key]))].focus();
}

// --- the timeline ---------------------------------------------------------------------------

class Timeline {
  constructor(onStep) {
    this.onStep = onStep;
    this.rows = h("div", { class: "nbd-executions" });
    this.axis = h("div", { class: "nbd-axis", "aria-hidden": "true" });
    this.hover = h("span", { class: "nbd-hover", role: "status" });
    this.under = h("div", { class: "nbd-under" });
    this.node = h("div", { class: "nbd-timeline", role: "group", "aria-label": "Executions over time; arrow keys go from bar to bar" },
      this.rows, this.axis, this.under);
    this.node.addEventListener("keydown", (event) => this.key(event));
    this.node.addEventListener("mouseleave", () => this.tell(null));
    // Whether a name fits into its bar depends on the width.
    this.resized = new ResizeObserver(() => this.data && this.node.clientWidth !== this.width && this.draw());
    this.resized.observe(this.node);
  }

  show(data) {
    this.data = data;
    this.draw();
    this.rows.scrollTop = this.rows.scrollHeight;
  }

  draw() {
    this.width = this.node.clientWidth;
    const kinds = new Set();
    const rows = this.data.executions.map((one) => this.execution(one, kinds));
    const earlier = this.data.earlier ? [h("div", { class: "nbd-empty" }, `${many(this.data.earlier, "earlier execution")} not drawn`)] : [];
    this.rows.replaceChildren(...earlier, ...rows);
    const bars = this.bars();
    if (bars.length) bars[0].tabIndex = 0;
    this.drawAxis();
    const legend = KINDS.filter(([kind]) => kinds.has(kind)).map(([kind, said]) => this.legend(kind, said));
    this.under.replaceChildren(this.hover, ...legend);
    this.tell(null);
    this.mark(this.chosen);
  }

  legend(kind, said) {
    const swatch = h("i", {});
    const colours = {
      ran: "var(--nbd-ran)", failed: "var(--nbd-bad)", replayed: "color-mix(in srgb, var(--nbd-ran) 24%, var(--nbd-back))",
      wait: "color-mix(in srgb, var(--nbd-wait) 45%, var(--nbd-back))",
    };
    swatch.style.background = colours[kind];
    return h("span", { class: "nbd-key" }, swatch, said);
  }

  execution(one, kinds) {
    const track = h("div", { class: "nbd-track" });
    const thick = one.lanes > 5 ? 12 : 18;
    track.style.height = `${one.lanes * (thick + 2)}px`;
    for (const bar of one.bars) {
      kinds.add(bar[0]);
      track.append(this.bar(bar, thick));
    }
    const parts = [one.ran ? `${one.ran.toLocaleString("en")} ran` : "", one.replayed ? `${one.replayed.toLocaleString("en")} replayed` : ""];
    const counts = parts.filter(Boolean).join(", ") || (one.replayed === null ? "cut off" : "no steps");
    const label = `Execution ${one.number}, ${when(one.began)}, ${one.outcome}, ${counts}`;
    return h("div", { class: "nbd-execution", "data-number": one.number, "data-outcome": one.outcome, role: "group", "aria-label": label },
      h("span", { title: label }, h("span", { class: "nbd-dim nbd-number nbd-order" }, String(one.number)), stateOf(one.outcome), h("span", { class: "nbd-dim nbd-number" }, ` ${clock(one.began)}`)),
      track, h("span", { class: "nbd-dim nbd-number", title: `took ${duration(one.took)}: ${counts}` }, counts));
  }

  bar(bar, thick) {
    const [kind, seq, step, state, x, width, lane, , , count, , cut, group] = bar;
    const span = this.data.span || 1;
    // The columns beside the track, and where it has a line of its own: as in explorer.css.
    const pixels = (width / span) * Math.max(100, this.width - (this.width > 720 ? 360 : 12));
    const label = this.say(bar);
    const name = pixels > 34 && thick > 12 ? inBar(bar, pixels) : "";
    const node = h("button", { type: "button", class: "nbd-bar", "data-step": step, "data-kind": kind, "data-state": state, "data-seq": seq,
      "data-cut": Boolean(cut), "data-thin": !name, "data-count": group ? count : null, tabindex: -1, "aria-label": label,
      on: { click: () => this.onStep(seq, Boolean(group)), mouseenter: () => this.tell(label), focus: () => this.tell(label) } }, name);
    node.style.left = `min(${(x / span) * 100}%, calc(100% - 3px))`;
    node.style.width = `${(width / span) * 100}%`;
    node.style.top = `${lane * (thick + 2)}px`;
    node.style.height = node.style.lineHeight = `${thick}px`;
    return node;
  }

  say([kind, , name, state, , , , at, took, count, said, cut, group]) {
    const step = group ? times(name, count) : name;
    if (count > 1 && !group) return `${many(count, "step")} from “${step}”: ${kind === "wait" ? "waited" : kind}, ${duration(took)} in all`;
    const told = kind === "wait" ? "waited" : kind === "replayed" ? `replayed, recorded ${when(at)},` : state === "done" || (group && kind === "ran") ? "ran" : state;
    const shorter = cut ? " (drawn shorter)" : "";
    return `${step}: ${told} ${duration(took)}${shorter}${kind === "replayed" ? "" : `, began ${when(at)}`}${said ? ` · ${said}` : ""}`;
  }

  tell(label) {
    this.hover.textContent = label ?? "";
  }

  drawAxis() {
    const track = h("div", { class: "nbd-track" });
    const { span, cut } = this.data;
    if (span > 0 && !cut) {
      const step = niceStep(span / Math.max(2, Math.min(6, Math.floor(this.width / 140))));
      for (let at = 0; at <= span * 0.97; at += step) {
        const tick = h("span", {}, at === 0 ? "0" : axisText(at, step));
        tick.style.left = `${(at / span) * 100}%`;
        track.append(tick);
      }
    }
    this.axis.replaceChildren(h("span", {}), track, h("span", {}));
  }

  mark(seq) {
    this.chosen = seq;
    for (const bar of this.bars()) bar.toggleAttribute("data-chosen", seq !== null && seq !== undefined && bar.dataset.seq === String(seq));
  }

  bars() {
    return [...this.rows.querySelectorAll(".nbd-bar")];
  }

  key(event) {
    const rows = [...this.rows.querySelectorAll(".nbd-execution")];
    const row = rows.findIndex((one) => one.contains(document.activeElement));
    if (row < 0 || !event.key.startsWith("Arrow")) return;
    const bars = [...rows[row].querySelectorAll(".nbd-bar")];
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") moveAmong(event, bars, 1);
    else {
      const next = rows[row + (event.key === "ArrowDown" ? 1 : -1)]?.querySelectorAll(".nbd-bar");
      event.preventDefault();
      if (next?.length) next[Math.min(next.length - 1, bars.indexOf(document.activeElement))].focus();
    }
    for (const bar of this.bars()) bar.tabIndex = bar === document.activeElement ? 0 : -1;
  }

  close() {
    this.resized.disconnect();
  }
}

/** What stands in a bar that is wide enough. A wait lies behind a failed attempt, whose bar is often too narrow for a name. */
function inBar([kind, , step, , , , , , took, count, , , group], pixels) {
  if (group) return pixels > 80 ? times(step, count) : step;
  if (count > 1) return `${count.toLocaleString("en")} steps`;
  if (kind !== "wait") return step;
  return pixels > 110 ? `${step} · ${duration(took)}` : duration(took);
}

function niceStep(rough) {
  const steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200];
  return steps.find((step) => step >= rough) ?? 86400;
}

function axisText(at, step) {
  if (step < 1) return at < 1 && step < 0.1 ? `${Math.round(at * 1000)} ms` : `${at.toFixed(step < 0.1 ? 2 : 1)} s`;
  if (at < 60) return `${Math.round(at)} s`;
  if (at < 3600) return `${Math.round((at / 60) * 10) / 10} min`;
  return `${Math.round((at / 3600) * 10) / 10} h`;
}

// --- one run --------------------------------------------------------------------------------

class Run {
  constructor(explorer) {
    this.explorer = explorer;
    this.timeline = new Timeline((seq, isGroup) => (isGroup ? this.openGroup(seq) : this.openStep(seq)));
    this.unfolded = new Map(); // by the name of a group: whether the reader wants to see its entries
    this.search = h("input", { type: "search", class: "nbd-search", placeholder: "Search steps", "aria-label": "Search steps", on: { input: () => this.filterAnew() } });
    this.choice = choose("nbd-filter", "Which steps", FILTERS, () => this.filterAnew());
    this.order = choose("nbd-sort", "Order", SORTS, () => this.filterAnew());
    this.count = h("span", { class: "nbd-count", role: "status" });
    this.confirm = h("div", {});
    this.steps = h("div", { class: "nbd-steps", role: "group", "aria-label": "Steps; arrow keys go up and down" });
    this.list = new LongList(this.steps, (item) => (item.group ? this.groupRow(item) : this.row(item)));
    this.detail = new Detail(explorer, this);
    this.body = h("div", { class: "nbd-body" }, this.steps, this.detail.node);
    this.node = h("div", { hidden: true }, this.confirm, this.timeline.node,
      h("div", { class: "nbd-tools" }, this.search, this.choice, this.order, this.count), this.body);
  }

  async open(run) {
    this.rows = [];
    this.groups = [];
    this.unfolded.clear();
    this.search.value = "";
    this.choice.value = "current";
    this.order.value = "order";
    this.steps.scrollTop = 0;
    this.confirm.replaceChildren();
    this.detail.close();
    this.body.removeAttribute("data-open");
    await this.load(run);
  }

  async refresh() {
    await this.load(this.id);
    if (this.detail.seq === null) return;
    if (this.rows.some((row) => row.seq === this.detail.seq)) await this.showStep(this.detail.seq, false);
    else {
      this.detail.close(); // it was forgotten
      this.mark();
    }
  }

  async load(run) {
    const answer = await this.explorer.kernel.ask({ do: "run", run });
    this.id = run;
    this.info = answer.run;
    this.explorer.distrust(answer.untrusted);
    this.node.hidden = false;
    this.timeline.show(answer.timeline);
    this.rows = unpacked(answer.steps);
    this.groups = named(answer.steps.groups);
    this.filter();
    let total = answer.steps.total;
    while (this.rows.length < total && this.id === run) {
      const more = await this.explorer.kernel.ask({ do: "rows", run, start: this.rows.length });
      const rows = unpacked(more.steps);
      total = rows.length ? more.steps.total : 0;
      this.rows = this.rows.concat(rows);
      this.filter();
    }
  }

  filterAnew() {
    this.steps.scrollTop = 0;
    this.filter();
  }

  filter() {
    const wanted = this.search.value.trim().toLowerCase();
    const isKept = (row) => fits(row, this.choice.value) && (!wanted || row.all.includes(wanted));
    const by = this.order.value;
    const greatest = (one, two) => (two[by] ?? 0) - (one[by] ?? 0);
    const units = unitsOf(this.rows, this.groups, isKept);
    if (by !== "order") {
      units.sort(greatest);
      for (const unit of units) unit.kept?.sort(greatest);
    }
    const count = units.reduce((sum, unit) => sum + (unit.kept?.length ?? 1), 0);
    this.count.textContent = count === this.rows.length ? many(count, "step") : `${count.toLocaleString("en")} of ${many(this.rows.length, "entry", "entries")}`;
    this.list.show(units.flatMap((unit) => (unit.group ? [unit, ...(this.isOpen(unit) ? unit.kept : [])] : [unit])));
    if (!count) this.list.window.replaceChildren(h("div", { class: "nbd-empty" }, "No step fits."));
  }

  /** Of a group of which only a few fit, these are shown; else the reader opens it. */
  isOpen({ group, kept }) {
    return this.unfolded.get(group.id) ?? (kept.length < group.count && kept.length <= FEW);
  }

  /** Many calls of one name in a row, such as the items of a map. */
  groupRow(unit) {
    const { group, kept } = unit;
    const open = this.isOpen(unit);
    const failed = group.failed ? `${group.failed.toLocaleString("en")} failed${group.error ? ` (${group.error})` : ""}` : group.error;
    const replayed = group.replayed && group.replayed < group.count ? `${group.replayed.toLocaleString("en")} replayed` : "";
    const shown = kept.length < group.count ? `${kept.length.toLocaleString("en")} shown` : "";
    const remark = [`${group.done.toLocaleString("en")} of ${group.count.toLocaleString("en")} done`, failed, replayed, shown, group.why].filter(Boolean).join("; ");
    const fold = () => {
      this.unfolded.set(group.id, !open);
      this.filter();
    };
    return h("button", { type: "button", class: "nbd-row nbd-group", "data-group": group.name, "data-state": group.state, "data-history": !group.current,
      "aria-expanded": String(open), on: { click: fold } },
      h("span", { class: "nbd-name", title: times(group.name, group.count) }, `${open ? "▾" : "▸"} ${group.name}`, h("span", { class: "nbd-dim" }, ` × ${group.count.toLocaleString("en")}`)),
      stateOf(group.state === "done" && group.replayed === group.count ? "replayed" : group.state, Object.entries(group.states).map(([state, count]) => `${count.toLocaleString("en")} ${state}`).join(", ")),
      h("span", { class: "nbd-right nbd-number nbd-dim", title: "all together" }, group.began ? duration(group.took) : ""),
      h("span", { class: "nbd-right nbd-number nbd-dim", title: "all together" }, group.size ? size(group.size) : ""),
      h("span", { class: "nbd-dim", title: remark }, remark));
  }

  /** Open the group that an entry is in, and go there. */
  openGroup(seq) {
    const place = this.rows.findIndex((row) => row.seq === seq);
    const group = this.groups.find((one) => one.start <= place && place < one.start + one.count);
    if (!group) return;
    this.unfolded.set(group.id, true);
    this.filter();
    const at = this.list.items.findIndex((item) => item.group === group);
    if (at >= 0) this.list.top(at);
  }

  row(row) {
    const version = row.versions > 1 && !row.current ? ` @${row.version}` : "";
    const remark = row.error || row.why;
    const how = row.how === "replayed" && row.state === "done" ? "replayed" : row.state;
    const item = row.item && h("span", { class: "nbd-item nbd-dim" }, ` ${row.item}`);
    return h("button", { type: "button", class: `nbd-row nbd-step${row.inside ? " nbd-inside" : ""}`, "data-step": row.step, "data-seq": row.seq, "data-state": row.state,
      "data-history": !row.current, "aria-current": String(row.seq === this.detail.seq), on: { click: () => this.openStep(row.seq) } },
      h("span", { class: "nbd-name", title: row.item ? `${row.step}: ${row.item}` : row.step }, row.step, item, version && h("span", { class: "nbd-dim" }, version)), stateOf(how),
      h("span", { class: "nbd-right nbd-number nbd-dim" }, row.began && row.state !== "damaged" ? duration(row.took) : ""),
      h("span", { class: "nbd-right nbd-number nbd-dim" }, row.size ? size(row.size) : ""),
      h("span", { class: "nbd-dim", title: remark }, row.attempts > 1 ? `attempt ${row.attempts}${remark ? "; " : ""}${remark}` : remark));
  }

  openStep(seq, focus = true) {
    return this.explorer.act(() => this.showStep(seq, focus));
  }

  async showStep(seq, focus) {
    const place = this.list.items.findIndex((item) => item.seq === seq);
    await this.detail.open(seq, focus);
    if (place >= 0) this.list.reveal(place);
    this.mark();
  }

  mark() {
    this.body.toggleAttribute("data-open", this.detail.seq !== null);
    this.timeline.mark(this.detail.seq);
    this.list.draw();
  }

  closeStep() {
    const place = this.list.items.findIndex((item) => item.seq === this.detail.seq);
    this.detail.close();
    this.mark();
    if (place >= 0) this.list.go(place);
  }
}

function choose(name, label, options, act) {
  return h("select", { class: name, "aria-label": label, on: { change: act } }, options.map(([value, said]) => h("option", { value }, said)));
}

/** Rows come as arrays whose texts are numbers of words: a loop says the same few things 10,000 times. */
function unpacked({ columns, texts, words, rows }) {
  const places = texts.map((name) => columns.indexOf(name));
  return rows.map((values) => {
    for (const place of places) values[place] = words[values[place]];
    const row = Object.fromEntries(columns.map((name, place) => [name, values[place]]));
    row.all = [row.step, row.item, row.state, row.type, row.error, row.why].join("\n").toLowerCase();
    return row;
  });
}

/** Give groups names by which they are known again after the run has gone on. */
function named(groups) {
  const seen = new Map();
  for (const group of groups) {
    const name = `${group.current} ${group.name}`;
    seen.set(name, (seen.get(name) ?? 0) + 1);
    group.id = `${seen.get(name)} ${name}`;
  }
  return groups;
}

/** The rows that are kept; of a group those are in its unit, which can be sorted among rows. */
function unitsOf(rows, groups, isKept) {
  const units = [];
  let at = 0;
  const single = (until) => {
    for (; at < until; at++) if (isKept(rows[at])) units.push(rows[at]);
  };
  for (const group of groups) {
    single(Math.min(group.start, rows.length));
    const inside = rows.slice(group.start, group.start + group.count);
    for (const row of inside) row.inside = true;
    const kept = inside.filter(isKept);
    if (kept.length) units.push({ group, kept, took: group.took, size: group.size, began: group.began });
    at = Math.max(at, group.start + group.count);
  }
  single(rows.length);
  return units;
}

function fits(row, filter) {
  if (filter === "all") return true;
  if (filter === "history") return !row.current;
  if (filter === "failed") return !["done", "superseded"].includes(row.state);
  if (filter === "current") return Boolean(row.current);
  return row.how === filter;
}

// --- one step -------------------------------------------------------------------------------

class Detail {
  constructor(explorer, run) {
    this.explorer = explorer;
    this.run = run;
    this.seq = null;
    this.node = h("section", { class: "nbd-detail", "aria-label": "Step", hidden: true });
  }

  close() {
    this.seq = null;
    this.node.hidden = true;
    this.node.replaceChildren();
  }

  async open(seq, focus) {
    this.seq = seq;
    const { step } = await this.explorer.kernel.ask({ do: "step", run: this.run.id, seq });
    if (this.seq !== seq) return; // another one was opened meanwhile
    const top = focus ? 0 : this.node.scrollTop;
    this.step = step;
    this.draw(step);
    this.node.hidden = false;
    this.node.scrollTop = top;
  }

  draw(step) {
    this.confirm = h("div", {});
    this.node.setAttribute("aria-label", `Step ${step.step}`);
    this.node.replaceChildren(
      h("div", { class: "nbd-top" }, h("span", { class: "nbd-title" }, step.step, versionText(step)),
        button("✕", "close", () => this.run.closeStep(), { class: "nbd-quiet", "aria-label": "Close the step", title: "Close (Escape)" })),
      ...this.facts(step), this.versions(step) ?? "", this.actions(step), this.confirm,
      ...section("Value", previewNode(step.preview, step), "nbd-preview"),
      ...section("Output", outputNodes(step.outputs, this.node), "nbd-outputs"),
      ...section("Attempts", attemptNodes(step), "nbd-attempts"),
      ...section(sourceTitle(step.source), sourceNodes(step.source), "nbd-source"),
      ...section("Inputs", inputNodes(step), "nbd-inputs"));
  }

  facts(step) {
    const fact = (name, value) => value && h("span", {}, `${name} `, h("b", { class: "nbd-number" }, value));
    const facts = h("div", { class: "nbd-facts" }, stateOf(step.how === "replayed" && step.state === "done" ? "replayed" : step.state),
      fact("took", step.took !== undefined && duration(step.took)),
      step.spent > step.took * 1.05 + 0.05 && fact("with waits", duration(step.spent)),
      fact("recorded", step.ended && `${when(step.ended)}, execution ${step.execution}`),
      fact("type", step.type), fact("size", step.size ? `${size(step.size)} (${step.serializer || "?"})` : ""));
    const said = [step.asks && `asked: ${step.asks}`, step.why && `why it ran: ${step.why}`, step.note, step.at_most_once && "called at most once"].filter(Boolean).join(" · ");
    const damaged = step.damaged && step.state !== "untrusted" /* which stands above */ ? h("div", { class: "nbd-damaged nbd-error", role: "alert" }, step.damaged) : "";
    return [facts, damaged, said ? h("div", { class: "nbd-why nbd-dim" }, said) : ""];
  }

  versions(step) {
    if (step.versions.length < 2) return null;
    return h("div", { class: "nbd-versions", role: "group", "aria-label": "Versions" }, step.versions.slice(-40).map((one) =>
      button(`version ${one.number}${one.current ? " · current" : ""}`, "version", () => this.run.openStep(one.seq),
        { "aria-current": String(one.seq === step.seq), title: `${one.state} ${when(one.at)}` })));
  }

  actions(step) {
    const name = h("input", { class: "nbd-variable", "aria-label": "Name of the variable", spellcheck: "false", size: 12 });
    name.value = step.variable;
    const load = () => this.explorer.act(async () => {
      try {
        return await this.explorer.kernel.ask({ do: "load", run: this.run.id, seq: step.seq, variable: name.value.trim() });
      } catch (error) {
        // The value may be damaged, which nobody knew before it was read: the step says that from now on.
        if (this.seq === step.seq) await this.open(step.seq, false);
        throw error;
      }
    });
    name.addEventListener("keydown", (event) => event.key === "Enter" && !event.shiftKey && load());
    const loads = step.can.load ? [h("span", { class: "nbd-as" }, button("Load value", "load", load), "as", name)] : [];
    const rewind = step.can.rewind ? [button("Rewind to here", "rewind", () => this.ask("rewind"))] : [];
    return h("div", {}, h("div", { class: "nbd-actions" }, loads, rewind, button("Forget step", "forget", () => this.ask("forget"))),
      step.command ? this.explorer.command(step.command) : "");
  }

  ask(what) {
    return this.explorer.confirm(this.confirm, { do: what, run: this.run.id, seq: this.seq }, () => this.run.refresh());
  }
}

function versionText(step) {
  return step.versions.length > 1 && !step.current ? h("span", { class: "nbd-dim" }, ` version ${step.version}`) : "";
}

function section(title, nodes, name) {
  const found = [nodes].flat().filter(Boolean);
  return found.length ? [h("h4", {}, title), h("div", { class: name }, found)] : [];
}

// -- the preview of a value

function previewNode(preview, step) {
  if (!preview) return step.size && ["done", "superseded"].includes(step.state) ? [h("div", { class: "nbd-dim" }, "No preview was kept with this value.")] : [];
  return [guarded(PREVIEWS.get(preview.kind) ?? otherPreview, preview)];
}

/** A journal may hold anything: what has another shape than expected is shown as it is, and the rest of the step too. */
function guarded(make, data, ...more) {
  try {
    return make(data, ...more);
  } catch {
    return otherPreview(data);
  }
}

function otherPreview(data) {
  return h("pre", { class: "nbd-wrap" }, JSON.stringify(data, null, 1) ?? "");
}

function textPreview(preview) {
  return h("pre", { class: "nbd-wrap" }, text(preview.text) + (preview.cut ? "\n…" : ""));
}

function framePreview(preview) {
  const columns = preview.columns ?? [];
  const side = columns.map((one) => (/^(u?int|float|decimal)\d*/i.test(text(one.dtype)) ? "nbd-right" : null));
  const head = h("tr", {}, h("th", {}, ""), columns.map((one, at) => h("th", { class: side[at] }, text(one.name), h("small", {}, text(one.dtype)))));
  const rows = (preview.rows ?? []).map((row, place) => h("tr", {}, h("th", {}, text(preview.index?.[place])),
    row.map((cell, at) => h("td", { title: text(cell), class: side[at] }, text(cell)))));
  const shape = (preview.shape ?? []).map((one) => Number(one).toLocaleString("en")).join(" × ");
  return h("div", {}, h("div", { class: "nbd-dim" }, [shape, text(preview.type)].filter(Boolean).join(" · ")),
    h("div", { class: "nbd-scroll" }, h("table", { class: "nbd-table" }, h("thead", {}, head), h("tbody", {}, rows))));
}

function arrayPreview(preview) {
  const stats = Object.entries(preview.stats ?? {}).map(([name, value]) => `${name} ${text(value)}`).join(" · ");
  const shape = `(${(preview.shape ?? []).join(", ")}) ${text(preview.dtype)}`;
  return h("div", {}, h("div", { class: "nbd-dim" }, [shape, stats].filter(Boolean).join(" · ")), h("pre", {}, text(preview.text)));
}

function imagePreview(preview) {
  const about = `${preview.width} × ${preview.height}`;
  return h("div", {}, picture("image/png", preview.png, about), h("div", { class: "nbd-dim" }, about));
}

function itemsPreview(preview) {
  const items = preview.items ?? [];
  const rows = items.map(([key, short, inner]) => h("tr", {}, h("th", {}, text(key)), h("td", {}, text(short), inner ? previewNode(inner, {}) : "")));
  const more = preview.length > items.length ? ` · the first ${items.length}` : "";
  return h("div", {}, h("div", { class: "nbd-dim" }, `${text(preview.type)} of ${preview.length}${more}`),
    h("div", { class: "nbd-scroll" }, h("table", { class: "nbd-table" }, h("tbody", {}, rows))));
}

const PREVIEWS = new Map([["text", textPreview], ["frame", framePreview], ["array", arrayPreview], ["image", imagePreview], ["items", itemsPreview]]);

// -- what it printed and displayed

function outputNodes(outputs, near) {
  return outputs.map((one) => guarded(outputNode, one, near));
}

function outputNode(one, near) {
  if (one.output_type === "stream") return h("pre", { class: "nbd-wrap", "data-name": one.name === "stderr" ? "stderr" : "stdout" }, plain(text(one.text)));
  const data = one.data && typeof one.data === "object" ? one.data : {};
  for (const type of ["image/png", "image/jpeg"]) if (data[type]) return picture(type, text(data[type]), "what the step displayed");
  if (data["image/svg+xml"]) return vector(text(data["image/svg+xml"]));
  if (data["text/html"]) return frame(text(data["text/html"]), near);
  return h("pre", { class: "nbd-wrap" }, plain(text(data["text/plain"] ?? Object.keys(data).join(", "))));
}

/** Colours of a terminal are left out; of a line that was drawn over (a progress bar) the last state stays. */
function plain(said) {
  // eslint-disable-next-line no-control-regex
  return said.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "").split("\n").map((line) => line.replace(/\r$/, "").split("\r").pop()).join("\n");
}

function picture(type, data, about) {
  const bytes = text(data).replace(/\s/g, "");
  if (!/^[A-Za-z0-9+/]+=*$/.test(bytes)) return h("div", { class: "nbd-dim" }, "an image that can't be read");
  const image = h("img", { alt: about });
  image.src = `data:${type};base64,${bytes}`;
  return image;
}

/** In an <img> an SVG can neither run scripts nor load anything. */
function vector(source) {
  const image = h("img", { alt: "what the step displayed" });
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(source)}`;
  return image;
}

/** HTML of the user's, in a frame that may do nothing: no scripts, no forms, no network. */
function frame(source, near) {
  const look = getComputedStyle(near.closest(".nbd-explorer") ?? near);
  const policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; style-src \'unsafe-inline\'; font-src data:">';
  const style = `<style>body{margin:6px;font:12px ${look.fontFamily.replace(/[<>{}]/g, "")};color:${look.color};background:${look.backgroundColor}}table{border-collapse:collapse;border:0}td,th{border:0;padding:2px 8px;text-align:right}thead{border-bottom:1px solid}</style>`;
  const node = h("iframe", { sandbox: "", title: "what the step displayed", referrerpolicy: "no-referrer" });
  node.srcdoc = `<!doctype html><meta charset="utf-8">${policy}${style}${source}`;
  const lines = (source.match(/<tr/gi) ?? []).length || (source.match(/<(br|p|div|li)\b/gi) ?? []).length;
  node.style.height = `${Math.min(340, 44 + 22 * lines)}px`;
  return node;
}

// -- attempts, source, inputs

function attemptNodes(step) {
  const nodes = (step.attempts ?? []).map((one) => {
    const wait = one.delay === null ? "" : `, then waited ${duration(one.delay)}`;
    const more = `${when(one.began)}, failed after ${duration(one.took)}${wait}`;
    return errorNode(`attempt ${one.number}`, `${one.type.split(".").pop()}: ${one.message}`, one.traceback, more);
  });
  if (!nodes.length && step.error) nodes.push(errorNode(step.state, step.error, step.traceback));
  else if (nodes.length && step.state === "done") nodes.push(h("div", { class: "nbd-attempt" }, `attempt ${step.tries} · done after ${duration(step.took)}`));
  return nodes;
}

function errorNode(line, error, traceback, more = "") {
  const said = error.length > 300 ? `${error.slice(0, 300)}…` : error;
  const head = [h("span", { class: "nbd-dim" }, `${line} · `), h("span", { class: "nbd-error" }, said), more && h("span", { class: "nbd-dim" }, ` · ${more}`)];
  if (!traceback) return h("div", { class: "nbd-attempt" }, head);
  return h("details", { class: "nbd-attempt" }, h("summary", {}, head), h("pre", { class: "nbd-traceback" }, plain(traceback)));
}

function sourceTitle(source) {
  return source?.then && source?.now && source.changes.length ? `Source: version ${source.then} → ${source.now}` : "Source";
}

function sourceNodes(source) {
  if (!source) return [];
  const changes = source.changes.map((one) => h("div", {}, h("div", { class: "nbd-dim" }, `${one.function} ${one.what}`), diffNode(one.diff)));
  const functions = source.functions.map((one, place) => {
    const node = h("details", {}, h("summary", {}, one.name), h("pre", {}, one.text));
    node.open = place === 0 && !changes.length;
    return node;
  });
  const same = source.then && source.now && !changes.length ? [h("div", { class: "nbd-dim" }, `the code is the same in version ${source.then} and ${source.now}`)] : [];
  return [...changes, ...same, ...functions];
}

function diffNode(lines) {
  if (!lines.length) return h("div", { class: "nbd-dim" }, "no difference in the source at hand");
  const names = { "+": "nbd-added", "-": "nbd-removed", "@": "nbd-at" };
  return h("pre", {}, lines.map((line) => h("span", { class: names[line[0]] }, `${line}\n`)));
}

function inputNodes(step) {
  const nodes = [];
  if (step.inputs?.length) {
    const rows = step.inputs.map((one) => h("tr", {}, h("th", {}, one.name), h("td", {}, one.change || one.short), h("td", { class: "nbd-dim", title: "digest of its content" }, h("code", {}, one.digest))));
    nodes.push(h("div", { class: "nbd-scroll" }, h("table", { class: "nbd-table" }, h("tbody", {}, rows))));
  } else if (step.inputs) nodes.push(h("div", { class: "nbd-dim" }, "none: it is called without arguments, and reads nothing from outside"));
  const untracked = (step.untracked ?? []).map((one) => `${one.name} (${one.types.join(", ")})`);
  if (untracked.length) nodes.push(h("div", {}, h("span", { class: "nbd-dim" }, "not tracked: "), untracked.join(", ")));
  if (step.bytecode?.length) nodes.push(h("div", {}, h("span", { class: "nbd-dim" }, "counts by its bytecode, no source at hand: "), step.bytecode.join(", ")));
  for (const one of step.changed_libraries ?? []) nodes.push(h("div", {}, h("span", { class: "nbd-dim" }, "library changed: "), one));
  if (step.libraries) nodes.push(h("div", { class: "nbd-dim" }, `recorded with ${step.libraries}`));
  return nodes;
}

// --- the whole ------------------------------------------------------------------------------

class Explorer {
  constructor(model, root) {
    this.root = root;
    this.kernel = new Kernel(model, (waits) => (this.waiting.hidden = !waits));
    this.title = h("span", { class: "nbd-title" });
    this.meta = h("span", { class: "nbd-meta" });
    this.back = button("‹ Runs", "runs", () => this.act(() => this.showRuns()), { class: "nbd-quiet", hidden: true });
    this.forget = button("Forget run", "forget-run", () => this.forgetRun(), { class: "nbd-quiet", hidden: true });
    const refresh = button("↻", "refresh", () => this.refresh(), { class: "nbd-quiet", "aria-label": "Refresh", title: "Refresh" });
    this.said = h("div", { class: "nbd-said", role: "status", hidden: true });
    this.waiting = h("div", { class: "nbd-waiting", role: "status", hidden: true }, "waiting for the kernel …");
    this.untrusted = h("div", { class: "nbd-untrusted", role: "note", hidden: true });
    this.runs = new Runs(this);
    this.run = new Run(this);
    root.classList.add("nbd-explorer");
    root.setAttribute("role", "region");
    root.setAttribute("aria-label", "Journal");
    root.append(h("div", { class: "nbd-head" }, this.back, this.title, this.meta, this.forget, refresh), this.waiting, this.said, this.untrusted, this.runs.node, this.run.node);
    this.key = (event) => this.keyed(event);
    root.addEventListener("keydown", this.key);
    this.watch();
  }

  /** Do something that asks the kernel; say what came of it. Nothing of what is shown is lost if it fails. */
  async act(what) {
    try {
      const answer = await what();
      if (answer?.said) this.say(answer.said);
      return answer;
    } catch (error) {
      this.say(error.message, true);
      return null;
    }
  }

  say(message, isError = false) {
    this.said.textContent = message;
    this.said.toggleAttribute("data-error", isError);
    this.said.hidden = !message;
  }

  /** Say why nothing in the journal is believed. */
  distrust(why) {
    this.untrusted.textContent = why ?? "";
    this.untrusted.hidden = !why;
  }

  async showRuns() {
    await this.runs.refresh();
    this.opened = null;
    this.run.detail.close();
    this.run.node.hidden = true;
    this.runs.node.hidden = false;
    this.back.hidden = this.forget.hidden = true;
    this.title.textContent = "Journal";
    this.meta.textContent = `${this.runs.location} · ${many(this.runs.runs.filter((one) => !one.archived).length, "run")}`;
  }

  openRun(run) {
    this.say("");
    return this.act(async () => {
      await this.run.open(run);
      this.opened = run;
      this.runs.node.hidden = true;
      this.back.hidden = this.forget.hidden = false;
      this.describe();
      this.run.timeline.draw(); // its width is known only now
    });
  }

  describe() {
    const info = this.run.info;
    this.title.textContent = info.archived ? `${info.name} · run ${info.number}, archived` : info.name;
    const steps = info.finished === info.steps ? many(info.steps, "step") : `${info.finished} of ${many(info.steps, "step")}`;
    const owner = info.pid ? ` in process ${info.pid}` : "";
    this.meta.textContent = [info.state + owner, steps, many(info.executions, "execution"), size(info.size), `began ${when(info.began)}`].join(" · ");
  }

  refresh() {
    this.seen = Date.now();
    return this.act(async () => {
      if (this.opened === null || this.opened === undefined) return this.showRuns();
      await this.run.refresh();
      this.describe();
    });
  }

  forgetRun() {
    return this.confirm(this.run.confirm, { do: "forget", run: this.run.id, seq: null }, () => this.showRuns());
  }

  /** Show what would go, and do it on yes. */
  async confirm(place, request, after) {
    const answer = await this.act(() => this.kernel.ask(request));
    if (!answer?.plan) return;
    const yes = async () => {
      place.replaceChildren();
      // What can't be done is told; what was done shows itself, also where its place is gone by then.
      const done = await this.act(() => this.kernel.ask({ do: "apply", plan: answer.plan }));
      if (done) await this.act(after);
    };
    const no = button("No", "no", () => { place.replaceChildren(); this.say("nothing was done"); });
    place.replaceChildren(h("div", { class: "nbd-confirm", role: "group", "aria-label": answer.question },
      h("pre", {}, answer.text), h("div", {}, answer.question), this.command(answer.command),
      h("div", { class: "nbd-actions" }, button("Yes", "yes", yes), no)));
    no.focus();
  }

  /** A command as text, with a button that copies it: the clipboard may be refused. */
  command(line) {
    const copy = () => this.act(async () => {
      try {
        await navigator.clipboard.writeText(line);
        return { said: `copied: ${line}` };
      } catch {
        return { said: `the browser refused; select and copy it: ${line}` };
      }
    });
    return h("div", { class: "nbd-command" }, h("code", {}, line), button("Copy", "copy", copy, { class: "nbd-quiet", "aria-label": "Copy the command" }));
  }

  keyed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || (event.key === "Enter" && event.shiftKey)) return;
    // JupyterLab would take "d d" on a button here as: delete this cell.
    event.stopPropagation();
    if (event.key !== "Escape") return;
    const open = this.root.querySelector(".nbd-confirm");
    if (open) open.parentElement.replaceChildren();
    else if (this.run.detail.seq !== null) this.run.closeStep();
    else if (this.opened !== null && this.opened !== undefined) this.act(() => this.showRuns());
  }

  /** Refresh when it comes into sight again; out of sight nothing is asked. */
  watch() {
    this.seen = Date.now();
    this.observer = new IntersectionObserver(([entry]) => {
      if (!entry.isIntersecting) this.left = true;
      else if (this.left && Date.now() - this.seen > 2000) {
        this.left = false;
        this.refresh();
      }
    });
    this.observer.observe(this.root);
  }

  close() {
    this.observer.disconnect();
    this.run.timeline.close();
    this.root.removeEventListener("keydown", this.key);
    this.kernel.close();
  }
}

function render({ model, el }) {
  const explorer = new Explorer(model, el);
  explorer.act(() => explorer.showRuns());
  return () => explorer.close();
}

export default { render };
