// Masks a revealed value again when its time is over, by removing it from the page; asks for nothing anew.

let ticking = null;

// By what it holds: while htmx settles a swap, the part wears the classes of the one before.
export const isRevealed = () => Boolean(document.querySelector("#value [data-value], #value .value-fields"));

// The button that shows the value hides it while it is shown.
function label() {
  const word = document.querySelector("[data-reveal] button span");
  if (word) word.textContent = isRevealed() ? "Hide" : "Reveal";
}

export function mask() {
  clearInterval(ticking);
  ticking = null;
  const shown = document.getElementById("value");
  const template = document.getElementById("value-masked");
  if (!template || !shown || !isRevealed()) return;
  const held = shown.contains(document.activeElement);
  shown.replaceWith(template.content.cloneNode(true));
  label();
  if (held) document.querySelector("[data-reveal] button")?.focus();
}

function start() {
  label();
  const shown = document.querySelector("#value.is-revealed");
  if (!shown) return;
  clearInterval(ticking);
  // The clock counts, not the ticks: a laptop that slept does not wake up with the value in view.
  const until = Date.now() + Number(shown.dataset.maskAfter) * 1000;
  const counter = shown.querySelector("[data-countdown]");
  ticking = setInterval(() => {
    const left = Math.ceil((until - Date.now()) / 1000);
    if (left <= 0) mask();
    else if (counter) counter.textContent = left;
  }, 500);
}

// The values in rows of a list: each has its own time.
const rowTimers = new WeakMap();

export function hideRow(shown) {
  clearInterval(rowTimers.get(shown));
  const empty = document.createElement("span");
  empty.className = "row-value";
  empty.id = shown.id;
  const held = shown.contains(document.activeElement);
  const row = shown.closest("tr");
  shown.replaceWith(empty);
  if (held) row?.querySelector("[data-row-reveal]")?.focus();
}

function startRows() {
  for (const shown of document.querySelectorAll("[data-row-value]")) {
    if (rowTimers.has(shown)) continue;
    const until = Date.now() + Number(shown.dataset.maskAfter) * 1000;
    const timer = setInterval(() => {
      const left = Math.ceil((until - Date.now()) / 1000);
      if (!shown.isConnected) clearInterval(timer);
      else if (left <= 0) hideRow(shown);
      else shown.querySelector("[data-countdown]").textContent = left;
    }, 500);
    rowTimers.set(shown, timer);
  }
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-mask]")) mask();
  const row = event.target.closest("[data-hide-row]")?.closest("[data-row-value]");
  if (row) hideRow(row);
});
document.addEventListener("htmx:afterSettle", (event) => {
  startRows();
  if (event.target.closest?.("#value") || event.detail.target?.closest?.("#value")) start();
});
// Capturing, so that htmx asks for nothing.
document.addEventListener(
  "click",
  (event) => {
    if (!event.target.closest("[data-reveal] button") || !isRevealed()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    mask();
  },
  true,
);
// Whatever a page keeps of itself for Back, values are not in it.
function forget() {
  mask();
  document.querySelectorAll("[data-row-value]").forEach(hideRow);
  for (const each of document.querySelectorAll("[data-sensitive]")) each.remove();
}
addEventListener("pagehide", forget);
start();
