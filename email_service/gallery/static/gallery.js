// Shows one template in the way that the switches say, and again whenever a file was saved.
// The address of the page says what is shown. Whatever a mail holds is written as text, or shown in a sandboxed frame.
import { paint } from "./source.js";

const TYPING_MILLISECONDS = 300;
const ORIGINS = [["own", "Your own"], ["changed", "Changed by you"], ["built-in", "Built in"]];
const token = document.querySelector('meta[name="csrf-token"]').content;
const at = (id) => document.getElementById(id);
const switches = at("switches");
const languages = new Intl.DisplayNames(["en"], { type: "language" });

let shelf = { state: "", templates: [], problems: [] };
let marks = new Map(); // findings by template, of the shelf's state
let turn = 0; // of what was asked for last; an older answer is dropped
let view = Object.fromEntries(new URLSearchParams(location.search));

async function ask(path, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": token },
    body: JSON.stringify(body),
  };
  const answer = await fetch(path, options || undefined);
  const isJson = (answer.headers.get("Content-Type") || "").includes("json");
  return { isGood: answer.ok, ...(isJson ? await answer.json() : { detail: await answer.text() }) };
}

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

const chosen = () => shelf.templates.find((each) => each.name === view.template) || shelf.templates[0];

function remember(changes) {
  view = { ...view, ...changes };
  history.replaceState(null, "", `?${new URLSearchParams(view)}`);
}

// The list

function drawList() {
  const wanted = at("filter").value.trim().toLowerCase();
  const groups = ORIGINS.map(([origin, title]) => {
    const found = shelf.templates.filter((each) => each.origin === origin && each.name.includes(wanted));
    if (!found.length) return null;
    const group = make("section");
    group.append(make("h2", "", title), ...found.map(drawName));
    return group;
  });
  const shown = groups.filter(Boolean);
  at("list").replaceChildren(...(shown.length ? shown : [make("p", "empty", "Nothing by that name.")]));
}

function drawName(template) {
  const link = make("a");
  link.href = `?${new URLSearchParams({ ...view, template: template.name })}`;
  link.append(make("span", "", template.name));
  if (marks.has(template.name)) link.append(drawMark(marks.get(template.name)));
  if (template === chosen()) link.setAttribute("aria-current", "page");
  link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    remember({ template: template.name });
    writeSample();
    draw();
  });
  return link;
}

function drawMark(findings) {
  const kind = findings.some((each) => each.is_error) ? "bad" : findings.length ? "warm" : "good";
  const mark = make("span", `mark ${kind}`, findings.length || "✓");
  mark.title = findings.length ? `${findings.length} to change` : "Nothing to change";
  return mark;
}

// The chosen template

function draw() {
  const template = chosen();
  at("work").hidden = at("compose").disabled = !template;
  drawList();
  if (!template) return;
  at("name").textContent = document.title = template.name;
  at("description").textContent = template.description;
  const select = switches.elements.locale;
  select.replaceChildren(...template.locales.map((locale) => new Option(`${languages.of(locale)} (${locale})`, locale)));
  select.value = template.locales.includes(view.locale) ? view.locale : template.locales[0];
  drawFindings();
  show();
}

function request() {
  const { locale, theme, case: values } = Object.fromEntries(new FormData(switches));
  const asked = { template: chosen().name, locale, theme, case: values };
  return values === "own" ? { ...asked, case: "sample", variables: JSON.parse(at("variables").value) } : asked;
}

async function show() {
  const mine = ++turn;
  let answer;
  try {
    answer = await ask("/render", request());
  } catch (error) {
    answer = { isGood: false, detail: error instanceof SyntaxError ? `The variables are no JSON: ${error.message}` : "The gallery does not answer." };
  }
  if (mine !== turn) return;
  const faults = (answer.errors || []).map((each) => `\n${each.pointer.slice(1)} ${each.message}`);
  at("trouble").hidden = answer.isGood;
  at("trouble").textContent = answer.isGood ? "" : answer.detail + (faults.length > 1 ? faults.join("") : "");
  if (answer.isGood) drawMail(answer);
}

function drawMail(mail) {
  const brand = shelf.brand;
  at("avatar").textContent = [...brand.name][0].toUpperCase();
  at("avatar").style.background = brand.color;
  at("avatar").style.color = brand.on_color;
  at("sender").textContent = brand.name;
  at("subject").textContent = mail.subject;
  at("preheader").textContent = mail.preheader;
  at("text").textContent = mail.text;
  at("text-facts").textContent = size(mail.text_bytes);
  at("source-facts").textContent = `version ${mail.version}`;
  paint(at("source"), mail.html);
  const frame = at("frame");
  frame.classList.toggle("dark", switches.elements.theme.value === "dark");
  frame.src = `/frames/${mail.frame}`;
  frame.dataset.bytes = mail.html_bytes;
  fit();
}

const size = (bytes) => (bytes < 1000 ? `${bytes} bytes` : `${(bytes / 1000).toFixed(1)} kB`);

// A mail that is wider than its place is shown smaller, at the width that it believes to have.
function fit() {
  const width = Number(switches.elements.width.value);
  const stage = at("stage");
  const room = { width: stage.clientWidth - 32, height: stage.clientHeight - 32 };
  const scale = Math.min(1, room.width / width);
  const frame = at("frame");
  frame.style.width = `${width}px`;
  frame.style.height = `${room.height / scale}px`;
  frame.style.transform = `scale(${scale})`;
  frame.parentElement.style.width = `${width * scale}px`;
  frame.parentElement.style.height = `${room.height}px`;
  const shrunk = scale < 1 ? `, at ${Math.round(scale * 100)} %` : "";
  at("page-facts").textContent = `${width} px${shrunk} · ${size(Number(frame.dataset.bytes || 0))}`;
}

function writeSample() {
  const template = chosen();
  if (template) at("variables").value = JSON.stringify(template.cases.sample, null, 2);
}

// Findings

function drawFindings() {
  const findings = marks.get(chosen().name);
  const place = at("findings");
  if (!findings) return place.replaceChildren(make("p", "", "Checking…"));
  if (!findings.length) return place.replaceChildren(make("p", "right", "✓ Nothing to change"));
  const list = make("ul");
  list.append(...findings.map(drawFinding));
  return place.replaceChildren(list);
}

function drawFinding(finding) {
  const item = make("li");
  const words = make("div");
  const where = finding.line ? `${finding.file}:${finding.line}` : finding.file;
  words.append(make("p", "", `${finding.message}.`), make("p", "advice", finding.advice), make("code", "", where));
  item.append(make("span", `mark ${finding.is_error ? "bad" : "warm"}`, finding.is_error ? "Error" : "Warning"), words);
  return item;
}

// The chosen one first, then the others one by one, so that a save in between is not kept waiting.
async function check(state) {
  const names = shelf.templates.map((each) => each.name);
  while (names.length && state === shelf.state) {
    const next = names.splice(Math.max(0, names.indexOf(chosen().name)), 1)[0];
    const answer = await ask(`/findings/${encodeURIComponent(next)}`);
    if (state !== shelf.state) return;
    if (!answer.isGood) continue;
    marks.set(next, answer.findings);
    drawList();
    if (next === chosen().name) drawFindings();
  }
}

// What was saved

async function load() {
  const found = await ask("/templates");
  shelf = { ...shelf, state: found.state, problems: found.problems };
  const list = at("problems").querySelector("ul");
  list.replaceChildren(...found.problems.map((each) => make("li", "", `${each.file}${each.line ? `:${each.line}` : ""}\n${each.message}. ${each.advice}`)));
  at("problems").hidden = !found.problems.length;
  if (found.problems.length) return;
  // While the templates cannot be loaded, the last ones that could stay on the page.
  shelf = found;
  marks = new Map();
  if (!at("variables").value) writeSample();
  draw();
  await check(found.state);
}

function listen() {
  const changes = new EventSource("/changes");
  changes.addEventListener("message", (event) => {
    tellLive("on", "Live: reloads when you save");
    // A gallery that was stopped answers nothing, which the other event tells.
    if (event.data !== shelf.state) load().catch(() => undefined);
  });
  changes.addEventListener("error", () => tellLive("off", "The gallery has stopped; start it again"));
}

function tellLive(kind, text) {
  at("live").className = `live ${kind}`;
  if (at("live").textContent !== text) at("live").textContent = text;
}

// Sending

async function send(event) {
  event.preventDefault();
  const answer = at("answer");
  answer.className = "answer";
  answer.textContent = "Sending…";
  localStorage.setItem("to", at("to").value);
  try {
    const told = await ask("/send", { ...request(), to: at("to").value });
    answer.classList.add(told.isGood ? "good" : "bad");
    answer.textContent = told.detail;
  } catch {
    answer.classList.add("bad");
    answer.textContent = "Not sent: the gallery does not answer, or the variables are no JSON.";
  }
}

let typing;
switches.addEventListener("change", () => {
  const { locale, theme, width, case: values } = Object.fromEntries(new FormData(switches));
  remember({ locale, theme, width, case: values });
  at("own").hidden = values !== "own";
  fit();
  show();
});
at("variables").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(show, TYPING_MILLISECONDS);
});
at("filter").addEventListener("input", drawList);
at("compose").addEventListener("click", () => {
  at("to").value = localStorage.getItem("to") || "";
  at("answer").textContent = "";
  at("dialog").showModal();
});
at("cancel").addEventListener("click", () => at("dialog").close());
at("letter").addEventListener("submit", send);
new ResizeObserver(fit).observe(at("stage"));
for (const name of ["theme", "width", "case"]) {
  if ([...switches.elements[name]].some((each) => each.value === view[name])) switches.elements[name].value = view[name];
}
at("own").hidden = switches.elements.case.value !== "own";
listen();
