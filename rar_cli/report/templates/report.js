"use strict";
const $ = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const tiles = all(".tile");
const tileOf = number => document.getElementById("t" + number);
const HOLD_MS = 220, MOVED_PX = 4;
let open = null;

/* Pictures sit in <noscript>, which browsers leave alone while scripts run, until they are looked at. */
function fill(holder) {
  holder.insertAdjacentHTML("beforebegin", holder.textContent);
  holder.remove();
}

const fillTile = tile => all("noscript", tile).forEach(fill);
const near = new IntersectionObserver(seen => seen.filter(each => each.isIntersecting).forEach(({ target }) => {
  near.unobserve(target);
  fillTile(target);
}), { rootMargin: "100%" });
tiles.forEach(tile => near.observe(tile));

function pictureOf(number) {
  const holder = document.getElementById("n" + number);
  if (holder) {
    fill(holder);
    prepare(document.getElementById("p" + number));
  }
  return document.getElementById("p" + number);
}

/* --- press and hold ------------------------------------------------------------------------- */
function holdable(element, blink, drag = () => {}) {
  let timer = 0, start = null, held = false, moved = false;
  const end = () => { clearTimeout(timer); if (held) blink(false); start = null; };
  element.addEventListener("pointerdown", event => {
    if (event.button !== 0 || event.target.closest("button")) return;
    start = event.clientX; held = moved = false;
    timer = setTimeout(() => { held = true; blink(true); }, HOLD_MS);
    if (drag.length) element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", event => {
    if (start === null) return;
    if (!moved && Math.abs(event.clientX - start) <= MOVED_PX) return;
    if (drag.length) { if (held) { blink(false); held = false; } drag(event); }
    moved = true; clearTimeout(timer);
  });
  element.addEventListener("pointerup", event => {
    if (start !== null && !held && !moved && drag.length) drag(event);
    end();
  });
  element.addEventListener("pointercancel", end);
  element.addEventListener("pointerleave", () => { if (!drag.length) end(); });
  element.addEventListener("contextmenu", event => { if (held || start !== null) event.preventDefault(); });
  element.addEventListener("click", event => { if (held) { event.preventDefault(); event.stopPropagation(); held = false; } }, true);
}

function blinkTile(tile, on) {
  const image = $("img", tile);
  if (!image || !image.dataset.before) return;
  image.dataset.after ||= image.src;
  image.src = on ? image.dataset.before : image.dataset.after;
  tile.classList.toggle("blinking", on);
}

for (const tile of tiles) holdable($("a", tile), on => blinkTile(tile, on));

/* --- one picture ------------------------------------------------------------------------------ */
function cut(compare, percent) {
  const value = Math.max(0, Math.min(100, percent));
  compare.style.setProperty("--cut", value + "%");
  $("input", compare).value = value;
}

function prepare(picture) {
  showMarks(picture);
  for (const button of all("[data-walk]", picture)) button.addEventListener("click", () => walk(Number(button.dataset.walk)));
  const compare = $(".compare:not(.same)", picture);
  if (!compare) return;
  const drag = event => {
    const box = compare.getBoundingClientRect();
    cut(compare, 100 * (event.clientX - box.left) / box.width);
  };
  holdable(compare, on => compare.classList.toggle("blink", on), drag);
  $("input", compare).addEventListener("input", event => cut(compare, Number(event.target.value)));
}

const visible = () => all(".tile").filter(tile => !tile.hidden).map(tile => Number(tile.dataset.index));

function show(picture) {
  if (open) open.classList.remove("open");
  open = picture;
  document.body.classList.toggle("viewing", Boolean(open));
  $("#page").inert = Boolean(open);
  if (!open) return;
  open.classList.add("open");
  const order = visible(), at = order.indexOf(Number(open.id.slice(1)));
  $(".position", open).textContent = `${at + 1} / ${order.length}`;
  for (const button of all("[data-walk]", open)) button.disabled = order[at + Number(button.dataset.walk)] === undefined;
  $(".close", open).focus({ preventScroll: true });
  const next = order[at + 1];
  if (next !== undefined) setTimeout(pictureOf, 50, next);
}

function follow() {
  const target = /^#p\d+$/.test(location.hash) ? pictureOf(location.hash.slice(2)) : null;
  const left = open;
  show(target);
  if (left && !target) {
    const link = $("a", tileOf(left.id.slice(1)));
    link.focus({ preventScroll: true });
    link.scrollIntoView({ block: "nearest" });
  }
}

function walk(by) {
  const order = visible(), next = order[order.indexOf(Number(open.id.slice(1))) + by];
  if (next !== undefined) history.replaceState(null, "", "#p" + next), follow();
}

addEventListener("hashchange", follow);

/* --- show and order --------------------------------------------------------------------------- */
const groups = all(".group").map(group => ({ group, heading: $("h2", group).cloneNode(true), members: all(".tile", group) }));
const orders = {
  index: tile => Number(tile.dataset.index),
  change: tile => -Number(tile.dataset.change),
  gain: tile => tile.dataset.gain === "inf" ? Infinity : Number(tile.dataset.gain),
  score: tile => Number(tile.dataset.score),
};

function wanted(tile, filter) {
  const [what, value] = [filter.slice(0, filter.indexOf(":")), filter.slice(filter.indexOf(":") + 1)];
  if (what === "is") return tile.dataset.is === value;
  if (what === "found") return tile.dataset.found.split("|").includes(value);
  if (what === "mark") return marks[tile.dataset.index] === value;
  return true;
}

function arrange() {
  const filter = $("#filter").value, order = $("#order").value;
  const by = orders[order];
  const sorted = [...tiles].sort(order === "name" ? (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true }) : (a, b) => by ? by(a) - by(b) : 0);
  groups.forEach(({ group, heading, members }, i) => {
    const mine = order === "eye" ? members : i ? [] : sorted;
    $(".grid", group).append(...mine);
    for (const tile of mine) tile.hidden = !wanted(tile, filter);
    const count = mine.filter(tile => !tile.hidden).length;
    group.hidden = !count;
    $("h2", group).firstChild.textContent = order === "eye" ? heading.firstChild.textContent : "All pictures ";
    $("h2 .soft", group).textContent = count;
  });
  $("#shown").textContent = `${visible().length} of ${tiles.length}`;
}

$("#filter").addEventListener("change", arrange);
$("#order").addEventListener("change", arrange);

/* --- marks ------------------------------------------------------------------------------------- */
const STORE = "rar marks " + location.pathname;
let marks = {};
try { marks = JSON.parse(localStorage.getItem(STORE)) || {}; } catch { /* no storage here: marks last as long as the page */ }

function mark(number, value) {
  if (marks[number] === value) delete marks[number]; else marks[number] = value;
  try { localStorage.setItem(STORE, JSON.stringify(marks)); } catch { /* as above */ }
  showMarks(document);
  if ($("#filter").value.startsWith("mark:")) arrange();
}

function showMarks(within) {
  for (const button of all("[data-mark]", within)) {
    const number = button.closest(".tile, .picture").id.slice(1);
    button.setAttribute("aria-pressed", String(marks[number] === button.dataset.mark));
  }
  const count = Object.keys(marks).length;
  $("#marked").hidden = !count;
  $("#marked b").textContent = count;
}

const shell = (value, end) => Object.keys(marks).filter(n => marks[n] === value && tileOf(n)).map(n => tileOf(n).getAttribute("data-shell-" + end)).filter(Boolean);

function list(what) {
  if (what !== "commands") return shell(what, "after").join("\n");
  const before = shell("back", "before"), after = shell("back", "after");
  return before.map((name, i) => `cp -p -- ${name} ${after[i]}`).join("\n");
}

function showLists() {
  for (const section of all("[data-list]")) {
    const text = list(section.dataset.list);
    section.hidden = !text;
    $("textarea", section).value = text;
  }
  $("#copied").textContent = "";
}

async function copy(text) {
  try { await navigator.clipboard.writeText(text); } catch {
    const area = $("#lists").appendChild(document.createElement("textarea"));
    area.value = text; area.select(); document.execCommand("copy"); area.remove();
  }
  const lines = text.split("\n").length;
  $("#copied").textContent = `${lines} ${lines === 1 ? "line" : "lines"} copied`;
}

document.addEventListener("click", event => {
  const button = event.target.closest("[data-mark]");
  if (button) mark(button.closest(".tile, .picture").id.slice(1), button.dataset.mark);
});
for (const button of all("[data-copy]")) button.addEventListener("click", () => copy(list(button.dataset.copy)));
$("#marked").addEventListener("click", () => { showLists(); $("#lists").showModal(); });
$("#forget").addEventListener("click", () => { marks = {}; try { localStorage.removeItem(STORE); } catch { /* as above */ } showMarks(document); showLists(); arrange(); $("#lists").close(); });

/* --- keys ---------------------------------------------------------------------------------------- */
function blink(on) {
  if (open) return $(".compare:not(.same)", open)?.classList.toggle("blink", on);
  const focused = document.activeElement.closest(".tile");
  for (const tile of focused ? [focused] : tiles) blinkTile(tile, on);
}

function step(by) {
  const order = visible(), focused = document.activeElement.closest(".tile");
  const at = focused ? order.indexOf(Number(focused.dataset.index)) + by : 0;
  if (order[at] !== undefined) $("a", tileOf(order[at])).focus();
}

addEventListener("keydown", event => {
  if (event.target.matches("select, textarea, input") || event.ctrlKey || event.metaKey || event.altKey || $("#lists").open) return;
  const number = open ? open.id.slice(1) : document.activeElement.closest(".tile")?.dataset.index;
  if (event.key === " " && !event.target.matches("button, summary")) { event.preventDefault(); if (!event.repeat) blink(true); }
  else if (event.key === "ArrowLeft" || event.key === "ArrowRight") { event.preventDefault(); (open ? walk : step)(event.key === "ArrowRight" ? 1 : -1); }
  else if (event.key === "Escape" && open) location.hash = "t" + open.id.slice(1);
  else if (event.key.toLowerCase() === "k" && number !== undefined) mark(number, "keep");
  else if (event.key.toLowerCase() === "p" && number !== undefined) mark(number, "back");
});
addEventListener("keyup", event => { if (event.key === " ") blink(false); });
addEventListener("beforeprint", () => {
  tiles.forEach(fillTile);
  tiles.forEach(tile => pictureOf(tile.dataset.index));
});

showMarks(document);
arrange();
addEventListener("DOMContentLoaded", follow); // the pictures come after this script, for the sheet to be there at once
