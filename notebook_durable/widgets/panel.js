// The live panel of a durable cell. The kernel sends rows as patches; times and countdowns tick here, by themselves.
// Everything that comes from a step (names, errors, tracebacks, choices) is set as text, never as HTML.

const MOST_IN_DOM = 200; // more rows than this are rendered only where the reader looks
const MARGIN = 400; // pixels above and below the visible part that are rendered too
const ROW = 24; // pixels, until a row was measured
const PATIENCE = 1500; // milliseconds without a reply, after which clicks count as not delivered
const TICK = 200; // milliseconds

const ICONS = {
  done: "✓", replayed: "↺", running: "●", waiting: "◔", paused: "‖", asking: "?", sleeping: "☾",
  failed: "✗", interrupted: "■", cancelled: "■", "not storable": "⚠\uFE0E", // with it, as text: not as a coloured picture
};
const ACTIVE = new Set(["running", "waiting", "paused", "asking", "sleeping"]);
const UNTIL = { waiting: "next attempt in", sleeping: "wakes in", asking: "waits for another" };
const ACTIONS = {
  waiting: [["retry", "Retry now"], ["pause", "Pause"], ["giveup", "Give up"]],
  paused: [["retry", "Retry now"], ["resume", "Resume"], ["giveup", "Give up"]],
  sleeping: [["retry", "Wake now"]],
};
const MAP_ACTIONS = { waiting: [["retry", "Retry all now"], ["giveup", "Give up all"]] }; // of all items that wait
const DEAF =
  "This kernel takes no clicks while the cell runs. Stop (■) ends it; finished steps replay next time.";
const NOT_SENT = "Not sent: this kernel takes no clicks while the cell runs.";
const DEAD = "The kernel has gone. Run the cell again: finished steps replay.";

// --- small helpers

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Set a text if it is another: a selection in it, and what a screen reader says, outlive updates that change nothing. */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setFlag(node, name, value) {
  const text = String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** The same words as `render.duration` in Python. */
function duration(seconds) {
  if (seconds < 0.0995) return `${(seconds * 1000).toFixed(0)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (n) => String(n).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** Is there more to say about a step than fits beside it? */
function isTall(row) {
  return Boolean(row.bar) || Boolean(row.error) || (ACTIVE.has(row.state) && row.state !== "running") || (row.note || "").length > 30;
}

function timeOf(row, now) {
  const spent = row.spent || 0;
  if (row.state === "replayed") return spent >= 0.05 ? `saved ${duration(spent)}` : "";
  return duration(spent + (ACTIVE.has(row.state) ? Math.max(0, now - (row.since || now)) : 0));
}

function countdownOf(row, now) {
  const word = row.bar ? UNTIL.waiting : UNTIL[row.state]; // some items of a map wait while others run
  if (!word || !row.until) return "";
  const left = Math.max(0, row.until - now);
  // Below 0.1 s the wait is over, whatever the kernel is busy with: "0.0 s" says that, milliseconds would flicker.
  return `${word} ${left < 0.1 ? "0.0 s" : duration(left)}`;
}

/** Add a text in which `code` stands in backticks. */
function addMarked(node, text) {
  text.split("`").forEach((part, n) => {
    if (part) node.append(n % 2 ? element("code", "", part) : part);
  });
}

// --- what is known: one per model, so that a second view of the same output shows the same

class State {
  constructor(model) {
    this.rows = new Map(); // by number, in the order of their first call
    this.head = { run: "", outcome: "running", summary: "", folded: [], notes: [] };
    this.offset = Infinity; // seconds that this clock is ahead of the kernel's, at most
    this.said = new Map(); // by number: what the kernel said about a click
    this.sent = new Map(); // by number: when something was asked of a step
    this.held = new Map(); // by number: answers that wait until the kernel was heard for the first time
    this.dead = false;
    this.views = new Set();
    this.line = new Line(model, () => this.lineChanged());
    model.on("msg:custom", (message) => this.take(message));
    model.on("change:snapshot", () => this.take(model.get("snapshot")));
    model.on("comm_live_update", () => this.die());
    this.take(model.get("snapshot"));
  }

  get running() {
    return this.head.outcome === "running" && !this.dead;
  }

  now() {
    const at = this.dead ? this.diedAt : Date.now() / 1000;
    return Number.isFinite(this.offset) ? at - this.offset : at;
  }

  take(message) {
    if (!message || typeof message !== "object") return;
    // The message that took the least time tells best how the two clocks differ.
    if (message.now) this.offset = Math.min(this.offset, Date.now() / 1000 - message.now);
    if (message.kind === "pong") this.line.pong(message.id);
    if (message.kind === "said") this.tell(message.seq, message.text);
    if (message.kind === "rows") this.patch(message);
  }

  patch(message) {
    if (message.head) this.head = message.head;
    if (message.full) {
      const kept = new Set(message.rows.map((row) => row.seq));
      for (const seq of [...this.rows.keys()]) if (!kept.has(seq)) this.rows.delete(seq);
    }
    for (const seq of message.gone) this.rows.delete(seq);
    for (const row of message.rows) {
      if (row.state !== "asking") this.held.delete(row.seq);
      const old = this.rows.get(row.seq);
      if (!old || old.state !== row.state) this.said.delete(row.seq);
      if (!message.full) this.sent.delete(row.seq);
      this.rows.set(row.seq, row);
    }
    this.refresh(message.rows.map((row) => row.seq));
  }

  ask(content) {
    if (content.seq !== undefined) {
      this.said.delete(content.seq);
      this.sent.set(content.seq, Date.now());
    }
    // Buttons can't be clicked until the kernel was heard, but who types is as quick as that, and presses Enter.
    if (this.line.heard) this.line.send(content);
    else this.held.set(content.seq, content);
    this.refresh([content.seq]);
  }

  /** The kernel was heard, for the first time or again, or it doesn't answer: buttons turn grey, or back. */
  lineChanged() {
    if (this.line.heard || this.line.deaf) {
      for (const [seq, content] of this.held) {
        if (this.line.heard) this.line.send(content);
        else this.tell(seq, NOT_SENT);
      }
      this.held.clear();
    }
    this.refresh([...this.rows.keys()]);
  }

  /** Say something in a step's row, which takes clicks again. */
  tell(seq, text) {
    this.said.set(seq, text);
    this.sent.delete(seq);
    this.refresh([seq]);
  }

  /** A step that was asked something takes no more clicks until it has changed, or three seconds have gone. */
  isSent(seq) {
    return Date.now() - (this.sent.get(seq) || 0) < 3000;
  }

  die() {
    this.dead = true;
    this.diedAt = Date.now() / 1000;
    this.refresh([...this.rows.keys()]);
  }

  refresh(changed = []) {
    for (const view of this.views) view.schedule(changed);
  }
}

/** The way to the kernel. Whether clicks arrive while the cell runs is found out by trying: each message is confirmed. */
class Line {
  constructor(model, changed) {
    this.model = model;
    this.changed = changed;
    this.pending = new Map(); // id: when it was sent, in milliseconds
    this.count = 0;
    this.heard = false; // once at least
    this.deaf = false;
    this.nextPing = 0;
    this.interval = 400; // at first: JupyterLab may still be opening the channel that is free while the cell runs
  }

  send(content) {
    this.count += 1;
    this.pending.set(this.count, Date.now());
    this.model.send({ ...content, id: this.count });
  }

  pong(id) {
    for (const one of [...this.pending.keys()]) if (one <= id) this.pending.delete(one);
    this.interval = 1000;
    const first = !this.heard;
    this.heard = true;
    this.look();
    if (first) this.changed();
  }

  /** Called on each tick while the cell runs: does the kernel hear us? While it doesn't, ask again, ever more rarely. */
  look() {
    const now = Date.now();
    const late = [...this.pending.values()].some((sent) => now - sent > PATIENCE);
    if (late !== this.deaf) {
      this.deaf = late;
      this.interval = 1000;
      this.changed();
    }
    if ((this.deaf || !this.heard) && now >= this.nextPing) {
      if (this.deaf) this.interval = Math.min(60000, this.interval * 2);
      this.nextPing = now + this.interval;
      this.send({ do: "ping" });
    }
  }
}

// --- one step

class RowView {
  constructor(state, seq, isOpen) {
    this.state = state;
    this.seq = seq;
    this.isOpen = isOpen; // which tracebacks are open: outlives this view of the row
    this.asked = "";
    this.build();
  }

  build() {
    this.root = element("div", "nbd-row");
    this.root.setAttribute("role", "listitem");
    this.root.tabIndex = -1; // can be given the focus when a button in it goes away
    this.icon = element("span", "nbd-icon");
    this.icon.setAttribute("aria-hidden", "true");
    const part = (name) => element("span", `nbd-${name}`);
    [this.name, this.word, this.time, this.attempts, this.size] = ["name", "state", "time", "attempts", "size"].map(part);
    [this.far, this.error, this.countdown, this.remark] = ["far", "error", "countdown", "remark"].map(part);
    this.bar = element("span", "nbd-map"); // of a map: replayed, done and failed items
    this.bar.setAttribute("role", "progressbar");
    this.parts = ["replayed", "done", "failed"].map((name) => element("span", `nbd-part nbd-${name}`));
    this.bar.append(...this.parts);
    this.toggle = this.button("traceback", "Traceback");
    this.toggle.className = "nbd-link";
    this.actions = element("span", "nbd-actions");
    this.rest = element("span", "nbd-rest");
    this.rest.append(this.bar, this.far, this.attempts, this.error, this.toggle, this.countdown, this.remark, this.actions);
    this.ask = element("div", "nbd-ask");
    this.said = element("div", "nbd-said");
    this.said.setAttribute("role", "alert");
    this.trace = element("pre", "nbd-traceback");
    this.trace.tabIndex = 0;
    const first = element("span", "nbd-first");
    first.append(this.icon, this.name);
    this.root.append(first, this.word, this.time, this.size, this.rest, this.ask, this.said, this.trace);
  }

  button(action, text) {
    const made = element("button", "nbd-button", text);
    made.type = "button";
    made.dataset.action = action;
    quiet(made);
    made.addEventListener("click", () => this.click(action, made));
    return made;
  }

  click(action, button) {
    if (action === "traceback") {
      if (!this.isOpen.delete(this.seq)) this.isOpen.add(this.seq);
      this.update(this.row);
    } else if (button.getAttribute("aria-disabled") !== "true") {
      this.state.ask({ do: action, seq: this.seq, ...(this.row.bar ? { map: true } : {}) });
    }
  }

  update(row) {
    this.row = row;
    const focused = this.root.contains(document.activeElement) ? document.activeElement : null;
    this.root.dataset.step = row.name;
    this.root.dataset.state = row.state;
    say(this.icon, ICONS[row.state] || "");
    say(this.name, row.name);
    this.name.title = row.name;
    say(this.word, row.state);
    say(this.attempts, row.attempts || "");
    say(this.size, row.size || "");
    say(this.error, row.error || "");
    say(this.remark, row.note || "");
    this.updateBar(row);
    this.updateTraceback(row);
    this.updateActions(row);
    this.updateAsk(row);
    const said = this.state.said.get(this.seq) || "";
    say(this.said, said);
    show(this.said, Boolean(said));
    this.tick(this.state.now());
    // The button that had the focus may have gone: don't throw a keyboard's user out of the row.
    if (focused && !this.root.contains(focused)) (this.actions.querySelector("button") || this.root).focus();
  }

  updateBar(row) {
    show(this.bar, Boolean(row.bar));
    say(this.far, row.far || "");
    if (!row.bar) return;
    row.bar.forEach((share, n) => (this.parts[n].style.width = `${share}%`));
    setFlag(this.bar, "aria-valuenow", Math.round(row.bar.reduce((sum, share) => sum + share, 0)));
    setFlag(this.bar, "aria-label", `Items of ${row.name}`);
    this.bar.title = row.far || "";
  }

  updateTraceback(row) {
    const open = this.isOpen.has(this.seq) && Boolean(row.traceback);
    show(this.toggle, Boolean(row.traceback));
    setFlag(this.toggle, "aria-expanded", open);
    setFlag(this.toggle, "aria-label", `Traceback of step ${row.name}`);
    setFlag(this.trace, "aria-label", `Traceback of step ${row.name}`);
    show(this.trace, open);
    if (open) say(this.trace, row.traceback);
  }

  updateActions(row) {
    const wanted = this.state.running ? (row.bar ? MAP_ACTIONS : ACTIONS)[row.state] || [] : [];
    const old = new Map([...this.actions.children].map((one) => [one.dataset.action, one]));
    const buttons = wanted.map(([action, text]) => {
      const button = old.get(action) || this.button(action, text);
      say(button, text);
      setFlag(button, "aria-label", row.bar ? `${text}: waiting items of ${row.name}` : `${text}: step ${row.name}`);
      return button;
    });
    if (buttons.length !== old.size || buttons.some((one, n) => this.actions.children[n] !== one)) {
      this.actions.replaceChildren(...buttons);
    }
    show(this.actions, buttons.length > 0);
    this.root.classList.toggle("nbd-tall", isTall(row)); // what it says has a line of its own
    this.grey(buttons);
  }

  grey(buttons) {
    const off = this.state.line.deaf || !this.state.line.heard || !this.state.head.clicks || !this.state.running;
    const sent = this.state.isSent(this.seq);
    for (const button of buttons) {
      button.disabled = off;
      setFlag(button, "aria-disabled", off || sent); // without `disabled`, which would take the focus away
    }
  }

  updateAsk(row) {
    const asked = row.ask ? JSON.stringify(row.ask) : "";
    if (asked !== this.asked) {
      this.asked = asked;
      this.ask.replaceChildren(...(row.ask ? askParts(row, (answer) => this.answer(answer)) : []));
    }
    show(this.ask, Boolean(row.ask));
    this.grey(this.ask.querySelectorAll("button"));
  }

  answer(answer) {
    const { line, head, running } = this.state;
    if (!running || !head.clicks || this.state.isSent(this.seq)) return;
    if (line.deaf) this.state.tell(this.seq, NOT_SENT);
    else this.state.ask({ do: "answer", seq: this.seq, ...answer });
  }

  tick(now) {
    say(this.time, timeOf(this.row, now));
    say(this.countdown, countdownOf(this.row, now));
    if (this.state.sent.has(this.seq)) this.grey(this.actions.children);
  }
}

/** JupyterLab's shortcuts (Enter edits the cell, D D deletes it) must not take the keys that are meant for us. */
function quiet(node) {
  node.setAttribute("data-lm-suppress-shortcuts", "true");
}

function askParts(row, answer) {
  const { text, choices, form } = row.ask;
  const label = element("span", "nbd-question", text);
  if (choices.length) {
    const group = element("span", "nbd-choices");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", text);
    for (const [json, shown] of choices) group.append(choiceButton(json, shown, text, answer));
    return [label, group];
  }
  return [label, askForm(form, row, answer)];
}

function choiceButton(json, shown, text, answer) {
  const button = element("button", "nbd-button nbd-choice", shown);
  button.type = "button";
  button.dataset.answer = json;
  button.setAttribute("aria-label", `${shown}: ${text}`);
  quiet(button);
  // The JSON goes along as it is: parsed, 1.0 would be 1.
  button.addEventListener("click", () => answer({ value: JSON.parse(json), json }));
  return button;
}

function askForm(form, row, answer) {
  const made = element("form", "nbd-form");
  quiet(made);
  const fields = form.length ? form : [["answer", "text", ""]];
  const readers = fields.map(([name, kind, first]) => [name, addField(made, name, kind, first, form.length > 0, row)]);
  const send = element("button", "nbd-button nbd-choice", "Send");
  send.type = "submit";
  send.setAttribute("aria-label", `Send the answer to ${row.name}`);
  made.append(send);
  // Browsers do this by themselves, but not within JupyterLab's outputs.
  made.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.tagName !== "INPUT" || event.isComposing) return;
    event.preventDefault();
    made.requestSubmit();
  });
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    const values = readers.map(([name, read]) => [name, read()]);
    answer({ value: form.length ? Object.fromEntries(values) : values[0][1] });
  });
  return made;
}

/** Add a field to a form; returns the function that reads it. */
function addField(form, name, kind, first, labelled, row) {
  const label = element("label", "nbd-field");
  const input = element(kind === "choice" ? "select" : "input");
  input.name = name;
  quiet(input);
  if (labelled) label.append(element("span", "nbd-label", name));
  else input.setAttribute("aria-label", `Answer to ${row.ask.text}`);
  label.append(input);
  form.append(label);
  if (kind === "choice") {
    first.forEach((one, n) => {
      const option = element("option", "", typeof one === "string" ? one : JSON.stringify(one));
      option.value = String(n);
      input.append(option);
    });
    return () => first[Number(input.value)];
  }
  if (kind === "flag") {
    input.type = "checkbox";
    input.checked = first;
    return () => input.checked;
  }
  if (kind === "text") {
    input.type = "text";
    input.autocomplete = "off";
    input.value = first;
    return () => input.value;
  }
  input.type = "number";
  input.step = kind === "integer" ? "1" : "any";
  input.required = true;
  input.value = String(first);
  return () => Number(input.value);
}

// --- the panel

class View {
  constructor(state, el) {
    this.state = state;
    this.rows = new Map(); // by number: the RowViews that are in the document
    this.heights = new Map();
    this.open = new Set();
    this.changed = new Set(state.rows.keys());
    this.widths = { name: 8, size: 0, time: 6 };
    this.bottom = true; // follow what is new, unless the reader has scrolled up
    this.frame = 0;
    this.build();
    el.append(this.root);
    state.views.add(this);
    this.draw();
    this.timer = setInterval(() => this.tick(), TICK);
    this.observer = new ResizeObserver(() => this.schedule());
    this.observer.observe(this.root);
  }

  build() {
    this.root = element("div", "nbd-panel nbd-live");
    this.root.setAttribute("role", "region");
    this.run = element("span", "nbd-run");
    this.summary = element("span", "nbd-summary");
    this.summary.setAttribute("aria-live", "polite");
    this.elapsed = element("span", "nbd-elapsed");
    this.progress = element("span", "nbd-progress");
    this.progressText = element("span");
    this.bar = element("span", "nbd-bar");
    this.filled = element("span", "nbd-filled");
    this.bar.append(this.filled);
    this.bar.setAttribute("aria-hidden", "true"); // the text beside it says the same
    this.progress.append(this.bar, this.progressText);
    this.stop = element("button", "nbd-button");
    this.stop.type = "button";
    this.stop.dataset.action = "stop";
    quiet(this.stop);
    this.stop.addEventListener("click", () => this.state.ask({ do: "stop", on: !this.state.head.stopping }));
    this.head = element("div", "nbd-head");
    const words = element("div", "nbd-words");
    this.stopping = element("span", "nbd-stopping", "stops after this step");
    words.append(this.run, this.summary, this.elapsed, this.progress, this.stopping);
    this.head.append(words, this.stop);
    this.hint = element("div", "nbd-hint");
    this.hint.setAttribute("role", "status");
    this.folds = element("div", "nbd-folds");
    this.list = element("div", "nbd-rows");
    this.list.setAttribute("role", "list");
    this.list.setAttribute("aria-label", "Steps");
    this.list.tabIndex = 0; // so that the keyboard can scroll it
    this.above = element("div", "nbd-space");
    this.below = element("div", "nbd-space");
    for (const space of [this.above, this.below]) space.setAttribute("role", "presentation");
    this.list.append(this.above, this.below);
    this.list.addEventListener("scroll", () => {
      this.bottom = this.list.scrollTop + this.list.clientHeight >= this.list.scrollHeight - 30;
      if (this.state.rows.size > MOST_IN_DOM) this.schedule();
    });
    this.notes = element("div", "nbd-notes");
    this.root.append(this.head, this.hint, this.folds, this.list, this.notes);
  }

  /** Draw with the next frame, however many messages come until then. */
  schedule(changed = []) {
    for (const seq of changed) this.changed.add(seq);
    if (this.frame) return;
    // A hidden page has no frames; its views are still kept right, so that they are when it is looked at.
    if (document.hidden) this.frame = setTimeout(() => this.draw(), 1000);
    else this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    this.drawHead();
    this.drawRows();
    if (this.bottom && !this.list.contains(document.activeElement)) this.list.scrollTop = this.list.scrollHeight;
  }

  drawHead() {
    const { head, line, dead, running } = this.state;
    this.root.dataset.run = head.run;
    this.root.dataset.outcome = head.outcome;
    setFlag(this.root, "aria-label", `durable cell ${head.run}`);
    say(this.run, head.run);
    if (this.summary.textContent !== head.summary) {
      // A loop changes it ten times a second: a screen reader is to read it when it has come to rest.
      this.summary.setAttribute("aria-busy", "true");
      this.rest = Date.now() + 1500;
      this.summary.textContent = head.summary;
    }
    show(this.progress, running && head.recorded > 0);
    if (head.recorded > 0) {
      const count = (number) => number.toLocaleString("en");
      const more = head.reached >= head.recorded && head.more > 0; // nobody knows how many: a full bar would be wrong
      show(this.bar, !more);
      say(this.progressText, `${count(head.reached)} of ${count(head.recorded)} recorded steps${more ? `, ${count(head.more)} more` : ""}`);
      this.progress.title = "What the journal held when the cell began; the cell may call more steps, or fewer";
      this.filled.style.width = `${(100 * head.reached) / head.recorded}%`;
    }
    show(this.stop, running && Boolean(head.clicks));
    show(this.stopping, running && Boolean(head.stopping));
    say(this.stop, head.stopping ? "Don't stop" : "Stop after this step");
    setFlag(this.stop, "aria-pressed", Boolean(head.stopping));
    this.stop.disabled = line.deaf || !line.heard;
    const hint = dead ? DEAD : line.deaf && running ? DEAF : "";
    say(this.hint, hint);
    show(this.hint, Boolean(hint));
    this.drawLines(this.folds, "nbd-fold", head.folded.map(([state, text]) => [ICONS[state] || "…", text]));
    this.drawLines(this.notes, "nbd-note", head.notes.map((text) => ["⚑", text]));
    this.tick();
  }

  drawLines(place, className, lines) {
    const key = JSON.stringify(lines);
    if (place.dataset.key === key) return;
    place.dataset.key = key;
    place.replaceChildren(
      ...lines.map(([icon, text]) => {
        const line = element("div", className);
        const sign = element("span", "nbd-icon", icon);
        sign.setAttribute("aria-hidden", "true");
        const words = element("span");
        addMarked(words, text);
        line.append(sign, words);
        return line;
      })
    );
    show(place, lines.length > 0);
  }

  drawRows() {
    const shown = this.window();
    const wanted = new Set(shown.seqs);
    for (const [seq, view] of this.rows) {
      const kept = this.state.rows.has(seq);
      // What has the focus stays, even if it was scrolled away: a half-filled form, say.
      if (wanted.has(seq) || (kept && view.root.contains(document.activeElement))) continue;
      view.root.remove();
      this.rows.delete(seq);
      if (!kept) this.heights.delete(seq);
    }
    let before = this.above;
    for (const seq of shown.seqs) {
      let view = this.rows.get(seq);
      if (!view) this.rows.set(seq, (view = new RowView(this.state, seq, this.open)));
      if (!view.row || this.changed.has(seq)) view.update(this.state.rows.get(seq));
      // Moving a node takes its focus away, so only those are moved that stand elsewhere.
      if (before.nextSibling !== view.root) before.after(view.root);
      before = view.root;
    }
    this.above.style.height = `${shown.above}px`;
    this.below.style.height = `${shown.below}px`;
    this.widen();
    this.changed.clear();
    if (this.state.rows.size > MOST_IN_DOM) for (const [seq, view] of this.rows) this.heights.set(seq, view.root.offsetHeight);
  }

  /** Which rows are to be in the document, and how high those above and below would be. */
  window() {
    const all = [...this.state.rows.keys()];
    if (all.length <= MOST_IN_DOM) return { seqs: all, above: 0, below: 0 };
    const height = (seq) => this.heights.get(seq) || ROW;
    const total = all.reduce((sum, seq) => sum + height(seq), 0);
    const visible = this.list.clientHeight || 360;
    const top = this.bottom ? Math.max(0, total - visible) : this.list.scrollTop;
    let from = 0;
    let above = 0;
    while (from < all.length && above + height(all[from]) < top - MARGIN) above += height(all[from++]);
    let to = from;
    let end = above;
    while (to < all.length && end < top + visible + MARGIN) end += height(all[to++]);
    return { seqs: all.slice(from, to), above, below: Math.max(0, total - end) };
  }

  /** Make the columns as wide as the longest text needs. They never shrink, so nothing jumps. */
  widen() {
    for (const seq of this.changed) {
      const row = this.state.rows.get(seq);
      if (!row) continue;
      const { widths } = this;
      widths.name = Math.max(widths.name, Math.min(Math.ceil(row.name.length * 0.9) + 1, 28));
      widths.size = Math.max(widths.size, (row.size || "").length);
      widths.time = Math.max(widths.time, timeOf(row, this.state.now()).length);
    }
    for (const [name, width] of Object.entries(this.widths)) {
      const text = `${width}ch`;
      if (this.root.style.getPropertyValue(`--nbd-${name}`) !== text) this.root.style.setProperty(`--nbd-${name}`, text);
    }
  }

  tick() {
    const { state } = this;
    const now = state.now();
    if (state.running) state.line.look();
    if (this.rest && Date.now() > this.rest) {
      this.rest = 0;
      this.summary.setAttribute("aria-busy", "false");
    }
    const { since, ended } = state.head;
    say(this.elapsed, since ? duration(Math.max(0, (ended || now) - since)) : "");
    if (!document.hidden) for (const view of this.rows.values()) if (view.row && ACTIVE.has(view.row.state)) view.tick(now);
  }

  destroy() {
    clearInterval(this.timer);
    cancelAnimationFrame(this.frame);
    clearTimeout(this.frame);
    this.observer.disconnect();
    this.state.views.delete(this);
    this.root.remove();
  }
}

// One call per model: what `initialize` gathers is what each `render` shows.
export default () => {
  let state;
  return {
    initialize({ model }) {
      state = new State(model);
    },
    render({ el }) {
      const view = new View(state, el);
      state.line.send({ do: "ping", all: true }); // this view may have come late; and does the kernel hear us?
      return () => view.destroy();
    },
  };
};
