// Everything that comes from the service is shown as text, never as markup.
"use strict";
const at = (id) => document.getElementById(id);
const made = (name, kind, text) => {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  return element;
};
const percent = (p) => (100 * p).toFixed(1) + " %";
let answers = false;
let latest = 0;

const say = (text, wrong = false) => {
  at("said").textContent = text;
  at("said").className = wrong ? "error" : "";
};

const weight = (kind, name, p) => {
  const row = made("div", "weight");
  const bar = made("progress", kind);
  bar.max = 1;
  bar.value = p;
  bar.setAttribute("aria-label", name);
  row.append(bar, made("span", "", percent(p)));
  return row;
};

// A passage with the answer marked where it stands.
const body = (z) => {
  const paragraph = made("p", "body");
  for (const [text, isAnswer] of z.pieces ?? [[z.text, false]]) paragraph.append(isAnswer ? made("mark", "", text) : text);
  return paragraph;
};

const show = (found) => {
  const list = at("passages");
  list.replaceChildren();
  found.passages.forEach((z, i) => {
    const item = made("li");
    item.append(made("h3", "", z.title), made("p", "meta", `${i + 1} · passage ${z.id}`));
    item.append(body(z), weight("prior", "p(z|x)", z.probability));
    if (z.posterior !== undefined) item.append(weight("posterior", "p(z|x, y)", z.posterior));
    list.append(item);
  });
  at("found").hidden = !found.passages.length;
  at("answer").hidden = found.answer === undefined;
  if (found.answer !== undefined) {
    at("text").textContent = found.answer || "(nothing)";
    at("how").textContent = `p(y|x) = ${percent(found.probability)} · RAG-${found.scheme === "token" ? "Token" : "Sequence"}`;
  }
};

const ask = async () => {
  const mine = ++latest;
  const asked = new URLSearchParams({ q: at("q").value, k: at("k").value });
  const begun = performance.now();
  say("Searching …");
  try {
    const response = await fetch(`api/${answers ? "answer" : "search"}?${asked}`);
    const found = await response.json();
    if (mine !== latest) return; // a later question is on its way
    if (!response.ok) throw new Error(found.error);
    show(found);
    say(`${found.passages.length} passages in ${Math.round(performance.now() - begun)} ms`);
  } catch (error) {
    if (mine === latest) say(error.message, true);
  }
};

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
fetch("api/info").then((response) => response.json()).then((info) => {
  answers = info.answers;
  at("k").max = info.most_k[answers ? "answer" : "search"];
  at("posterior-key").hidden = !answers;
  at("info").textContent = `${info.passages.toLocaleString("en")} passages · ${info.index}`;
  const q = new URLSearchParams(location.search).get("q"); // a question in the address is asked at once
  if (q) {
    at("q").value = q;
    ask();
  }
}).catch(() => say("The service does not answer.", true));
