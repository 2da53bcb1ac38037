// Masks a revealed value again when its time is over, by removing it from the page; asks for nothing anew.

let ticking = null;

export function mask() {
  clearInterval(ticking);
  ticking = null;
  const shown = document.getElementById("value");
  const template = document.getElementById("value-masked");
  if (!template || !shown?.matches(".is-revealed")) return;
  const held = shown.contains(document.activeElement);
  shown.replaceWith(template.content.cloneNode(true));
  if (held) document.querySelector("[data-reveal] button")?.focus();
}

function start() {
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

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-mask]")) mask();
});
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target?.id === "value" || event.target.id === "value") start();
});
addEventListener("pagehide", mask);
start();
