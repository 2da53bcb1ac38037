// The keyboard: / searches, j and k walk the rows, other keys press the button that names them.
import { hideRow, isRevealed, mask } from "./reveal.js";

const typing = (target) => target.closest?.("input, textarea, select, [contenteditable]");

function walk(step) {
  const rows = [...document.querySelectorAll("[data-rows] .row-link")].filter((row) => row.offsetParent);
  if (!rows.length) return;
  const here = document.activeElement.closest?.("tr")?.querySelector(".row-link");
  const at = rows.indexOf(here);
  const to = at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1);
  rows[to].focus();
}

const visible = (selector) => [...document.querySelectorAll(selector)].find((each) => each.offsetParent);

const keys = {
  "/": () => {
    const search = visible("[data-search]");
    search?.focus();
    search?.select();
  },
  "?": () => document.getElementById("shortcuts")?.showModal(),
  j: () => walk(1),
  k: () => walk(-1),
  c: () => copyRow(document.activeElement.closest?.("tr")) || visible('[data-key="c"]')?.click(),
  r: () => {
    const row = document.activeElement.closest?.("tr")?.querySelector("[data-row-reveal]");
    if (row) return row.click();
    if (isRevealed()) mask();
    else visible('[data-key="r"]')?.click();
  },
};

function copyRow(row) {
  const link = row?.querySelector("[data-copy-url]");
  const form = document.getElementById("row-copy");
  if (!link || !form) return false;
  form.action = link.dataset.copyUrl;
  form.requestSubmit();
  return true;
}

document.addEventListener("click", (event) => {
  const copy = event.target.closest("[data-row-copy]");
  if (copy) copyRow(copy.closest("tr"));
});

// Pressed again, the button of a row hides what it showed. Capturing, so that htmx asks for nothing.
document.addEventListener(
  "click",
  (event) => {
    const shown = event.target.closest("[data-row-reveal]")?.closest("tr").querySelector("[data-row-value]");
    if (!shown) return;
    event.stopImmediatePropagation();
    hideRow(shown);
  },
  true,
);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Escape" && event.target.matches?.("[data-search]") && !event.target.value) event.target.blur();
  if (typing(event.target) || document.querySelector("dialog[open]")) return;
  const act = keys[event.key] || (/^[a-z]$/.test(event.key) && visible(`[data-key="${event.key}"]`));
  if (!act) return;
  event.preventDefault();
  if (typeof act === "function") act();
  else act.click();
});
