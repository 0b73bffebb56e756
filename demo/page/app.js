// The page: who is signed in, which files were sent, and what has become of each.

import { Connection } from "./connection.js";

const $ = (id) => document.getElementById(id);
const CATCH_UP_MS = [20, 100, 300, 1000, 3000]; // the read model may lag behind the notifications

/** JSON of a service; throws an Error with the service's own words. */
async function call(path, { token, ...options } = {}) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  const answer = await fetch(path, { ...options, headers });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail ?? `The server answered ${answer.status}`);
  return body;
}

const postJson = (path, body, token) =>
  call(path, { method: "POST", token, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

// One row: a file, and its fate. fate: sending | uploaded | essay | refused | unsent

class FileRow {
  constructor(name) {
    this.name = name;
    this.fate = "sending";
    this.sentAt = null;
    this.latency = null;
    this.element = $("file-template").content.firstElementChild.cloneNode(true);
    this.element.querySelector(".name").textContent = name;
    this.element.querySelector(".name").title = name;
    this.tell("sending", "Sending");
  }

  get settled() {
    return this.fate === "essay" || this.fate === "refused";
  }

  tell(fate, text, title = "") {
    this.fate = fate;
    this.element.dataset.fate = fate;
    const place = this.element.querySelector(".fate");
    place.textContent = text;
    place.title = title;
  }

  essay(id) {
    this.tell("essay", `Essay ${id.slice(0, 8)}`, `Essay ${id}`);
  }

  refused(reason, code) {
    this.tell("refused", reason, code);
  }

  /** It was settled before our eyes: a moment of `performance.now()`. */
  arrived(at) {
    this.element.classList.add("fresh");
    if (this.sentAt === null) return this.time(clock(new Date()));
    this.latency = at - this.sentAt;
    this.time(`${milliseconds(this.latency)} ms`);
  }

  time(text) {
    this.element.querySelector(".time").textContent = text;
  }
}

class Batch {
  constructor(created) {
    this.id = null;
    this.mine = false; // sent from this tab, and not yet said to be settled
    this.rows = [];
    this.created = created;
    this.element = $("batch-template").content.firstElementChild.cloneNode(true);
    this.summary = this.element.querySelector(".summary");
    this.again = this.element.querySelector(".again");
    this.bar = this.element.querySelector("progress");
    this.bar.setAttribute("aria-label", "files settled");
  }

  /** By name, so that all tabs show the same order. */
  add(row) {
    const after = this.rows.findLastIndex((one) => byName(one.name, row.name) <= 0) + 1;
    this.element.querySelector("ol").insertBefore(row.element, this.rows[after]?.element ?? null);
    this.rows.splice(after, 0, row);
    return row;
  }

  draw() {
    const count = (fate) => this.rows.filter((row) => row.fate === fate).length;
    const parts = [[count("essay"), "essays"], [count("refused"), "refused"], [count("unsent"), "not sent"]];
    const under = count("sending") + count("uploaded");
    if (under) parts.push([under, "on the way"]);
    const total = this.rows.length;
    this.element.querySelector("h3").textContent = `${total} ${total === 1 ? "file" : "files"}, ${clock(this.created)}`;
    this.summary.textContent = parts.filter(([n]) => n).map(([n, what]) => `${n} ${n === 1 && what === "essays" ? "essay" : what}`).join(", ");
    this.bar.max = total;
    this.bar.value = this.rows.filter((row) => row.settled).length;
    this.element.classList.toggle("done", this.bar.value === total);
  }
}

/** Everything of one teacher that this tab knows. */
class Desk {
  constructor(teacher) {
    this.teacher = teacher;
    this.batches = [];
    this.files = new Map(); // file upload id -> row
    this.early = new Map(); // file upload id -> {message, at, live}: told about a file that is not known yet
    this.fetched = false;
    this.sending = new Set(); // batch ids whose upload has not been answered yet
    this.latencies = [];
    this.refresh = { timer: 0, tries: 0 };
    this.connection = new Connection({
      session: () => this.session(),
      started: () => this.fetchSoon(),
      reset: (reason) => this.reset(reason),
      notification: (message) => this.notified(message),
      state: (name, text) => drawConnection(name, text, this.connection?.cursor),
    });
  }

  leave() {
    clearTimeout(this.refresh.timer);
    this.connection.stop();
  }

  async session() {
    const session = await postJson("demo/session", { user_id: this.teacher.user_id });
    this.token = session.token;
    return session;
  }

  // Sending

  async send(files) {
    if (!files.length) return;
    files = files.toSorted((one, other) => byName(one.name, other.name));
    const batch = Object.assign(new Batch(new Date()), { mine: true });
    for (const file of files) batch.add(new FileRow(file.name));
    batch.again.onclick = () => {
      this.forget(batch);
      this.send(files);
    };
    this.show(batch);
    try {
      await this.upload(batch, files);
    } catch (error) {
      for (const row of batch.rows) row.tell("unsent", error.message);
      batch.again.hidden = false;
      say(`Nothing was sent: ${error.message}`);
    }
    this.redraw();
  }

  async upload(batch, files) {
    const { token } = await this.session();
    const wanted = { expected_essay_count: files.length, course_code: this.teacher.course_code };
    batch.id = (await postJson("v1/batches/register", wanted, token)).batch_id;
    const form = new FormData();
    form.append("batch_id", batch.id);
    for (const file of files) form.append("files", file, file.name);
    this.sending.add(batch.id);
    const sentAt = performance.now();
    for (const row of batch.rows) row.sentAt = sentAt;
    try {
      const answer = await call("v1/files/batch", { method: "POST", token, body: form });
      answer.files.forEach(({ file_upload_id: id }, index) => this.sent(id, batch.rows[index]));
    } finally {
      this.sending.delete(batch.id);
    }
  }

  sent(id, row) {
    this.files.set(id, row);
    row.tell("uploaded", "On its way");
    const early = this.early.get(id);
    if (early) this.settle(early.message, early.at);
  }

  // Being told

  notified(message) {
    const at = performance.now();
    drawCursor(message.cursor);
    if (!message.data?.file_upload_id) return;
    if (this.files.has(message.data.file_upload_id)) this.settle(message, at);
    else this.keep(message, at);
  }

  /** It is of a file that this tab is still uploading, or of one that another tab has sent. */
  keep(message, at) {
    this.early.set(message.data.file_upload_id, { message, at, live: this.fetched });
    if (!this.sending.has(message.data.batch_id)) this.fetchSoon();
  }

  settle({ event, data }, at) {
    const row = this.files.get(data.file_upload_id);
    this.early.delete(data.file_upload_id);
    if (row.settled) return;
    if (event === "essay.slot.assigned") row.essay(data.essay_id);
    else if (event === "essay.validation.failed") row.refused(data.message, data.error_code);
    else return;
    row.arrived(at);
    if (row.latency !== null) this.latencies.push(row.latency);
    this.redraw();
  }

  // The read model

  reset(reason) {
    say(`Some news could not be resumed (${reason}); the list was fetched again.`);
    drawCursor(this.connection.cursor);
    this.fetchSoon();
  }

  fetchSoon() {
    this.refresh.tries = 0;
    if (!this.refresh.timer) this.#fetchAfter(CATCH_UP_MS[0]);
  }

  #fetchAfter(delay) {
    this.refresh.timer = setTimeout(async () => {
      this.refresh.timer = 0;
      const failure = await this.fetch().catch((error) => error);
      if (desk !== this) return;
      if (failure) say(`The list could not be fetched: ${failure.message}`);
      this.#again(Boolean(failure));
    }, delay);
  }

  /** Until every file that was told of is known; what the read model never tells is of an earlier demo. */
  #again(failed) {
    const unknown = [...this.early.values()].filter(({ message }) => !this.sending.has(message.data.batch_id));
    const delay = CATCH_UP_MS[++this.refresh.tries];
    if ((failed || unknown.length) && delay) this.#fetchAfter(delay);
    else for (const { message } of unknown) this.early.delete(message.data.file_upload_id);
  }

  async fetch() {
    const { batches } = await call(`v1/batches/user/${this.teacher.user_id}`, { token: this.token });
    if (desk !== this) return;
    for (const view of batches.toReversed()) if (!this.sending.has(view.batch_id)) this.merge(view);
    this.fetched = true;
    $("essays").ariaBusy = "false";
    this.redraw();
  }

  merge(view) {
    let batch = this.batches.find((one) => one.id === view.batch_id);
    if (!batch && !view.essays.length) return;
    if (!batch) {
      batch = Object.assign(new Batch(new Date(view.created_at)), { id: view.batch_id });
      this.show(batch);
    }
    for (const file of view.essays) this.mergeFile(batch, file);
  }

  mergeFile(batch, file) {
    const id = file.file_upload_id;
    if (!this.files.has(id)) this.files.set(id, batch.add(new FileRow(file.filename)));
    const row = this.files.get(id);
    const early = this.early.get(id);
    const known = file.essay_id || file.error_code;
    if (row.settled) return;
    if (early && (early.live || !known)) return this.settle(early.message, early.at);
    this.early.delete(id);
    if (file.essay_id) row.essay(file.essay_id);
    else if (file.error_code) row.refused(file.message, file.error_code);
    else return row.tell("uploaded", "On its way");
    row.time(clock(new Date(file.last_updated)));
  }

  // Showing

  show(batch) {
    this.batches.unshift(batch);
    $("batches").prepend(batch.element);
    this.redraw();
  }

  forget(batch) {
    this.batches = this.batches.filter((one) => one !== batch);
    batch.element.remove();
  }

  redraw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (desk === this) draw(this);
    });
  }
}

// Drawing

const milliseconds = (ms) => (ms < 10 ? ms.toFixed(1) : String(Math.round(ms)));
const clock = (date) => date.toLocaleTimeString([], { hourCycle: "h23" });
const byName = new Intl.Collator(undefined, { numeric: true }).compare;
const say = (text) => ($("notice").textContent = text);

function draw(desk) {
  for (const batch of desk.batches) batch.draw();
  const rows = desk.batches.flatMap((batch) => batch.rows);
  const count = (fate) => rows.filter((row) => row.fate === fate).length;
  $("empty").hidden = rows.length > 0;
  $("count-essays").textContent = count("essay");
  $("count-refused").textContent = count("refused");
  const ordered = desk.latencies.toSorted((a, b) => a - b);
  $("median").textContent = ordered.length ? milliseconds(ordered[(ordered.length - 1) >> 1]) : "–";
  $("slowest").textContent = ordered.length ? milliseconds(ordered.at(-1)) : "–";
  drawStrip(desk.latencies.slice(-120));
  const done = desk.batches.find((batch) => batch.mine && batch.element.classList.contains("done"));
  if (done) {
    done.mine = false; // said once
    say(`${done.summary.textContent}: all settled.`);
  }
}

/** A bar a file, in the order they became essays; the longest fills the height. */
function drawStrip(latencies) {
  $("strip").classList.toggle("none", !latencies.length);
  const tallest = Math.max(...latencies, 1);
  const width = 240 / Math.max(latencies.length, 40);
  $("strip").replaceChildren(...latencies.map((latency, index) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = Math.max(2, (latency / tallest) * 46);
    const box = { x: index * width, y: 48 - height, width: width * 0.7, height, rx: Math.min(1.5, width / 4) };
    for (const [name, value] of Object.entries(box)) bar.setAttribute(name, value.toFixed(2));
    return bar;
  }));
}

function drawConnection(name, text, cursor) {
  drawCursor(cursor);
  $("connection").dataset.state = name;
  if ($("connection-text").textContent !== text) $("connection-text").textContent = text;
}

const drawCursor = (cursor) => ($("cursor").textContent = cursor ?? "–");

// Choosing a teacher

let desk = null;

function sitDown(teacher) {
  desk?.leave();
  $("batches").replaceChildren();
  $("essays").ariaBusy = "true";
  say("");
  desk = new Desk(teacher);
  draw(desk);
  history.replaceState(null, "", `#${teacher.user_id}`);
}

function drawTeachers(teachers) {
  const wanted = location.hash.slice(1);
  const first = teachers.find((teacher) => teacher.user_id === wanted) ?? teachers[0];
  for (const teacher of teachers) {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "teacher", value: teacher.user_id });
    radio.checked = teacher === first;
    radio.onchange = () => sitDown(teacher);
    const initials = teacher.name.split(" ").map((word) => word[0]).join("");
    label.append(radio, span("initials", initials), span("who", teacher.name), span("course", teacher.course));
    label.querySelector(".initials").setAttribute("aria-hidden", "true");
    $("teachers").append(label);
  }
  sitDown(first);
}

function span(className, text) {
  return Object.assign(document.createElement("span"), { className, textContent: text });
}

// Dropping, choosing, pressing

/** Files of a drop, those in dropped folders too. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  return (await Promise.all(entries.map(filesOf))).flat();
}

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((done, fail) => entry.file(done, fail))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail)); // a hundred at a time
    if (!some.length) return (await Promise.all(found.map(filesOf))).flat();
    found.push(...some);
  }
}

function takeDrops() {
  const over = (event, on) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    $("drop").classList.toggle("over", on);
  };
  addEventListener("dragover", (event) => over(event, true));
  addEventListener("dragleave", (event) => event.relatedTarget === null && over(event, false));
  addEventListener("drop", async (event) => {
    over(event, false);
    desk?.send(await dropped(event.dataTransfer));
  });
}

const textFile = (name, text) => new File([text], name, { type: "text/plain" });

$("files").onchange = (event) => {
  desk?.send([...event.target.files]);
  event.target.value = "";
};
$("send-samples").onclick = async () => {
  const samples = await call("demo/samples");
  desk?.send(samples.map(({ name, text }) => textFile(name, text)));
};
$("send-empty").onclick = () => desk?.send([textFile("Nothing to read.txt", "")]);
takeDrops();
call("demo/teachers").then(drawTeachers, (error) => drawConnection("stopped", error.message));
