// The search of the top bar: what it finds is walked by arrow keys and closed by Escape or a click elsewhere.

const found = () => document.getElementById("found");
const links = () => [...(found()?.querySelectorAll("a") || [])];

function close() {
  const list = found();
  if (list) list.hidden = true;
}

document.addEventListener("keydown", (event) => {
  const form = event.target.closest?.("[data-search-everywhere]");
  if (!form || !found() || found().hidden) return;
  if (event.key === "Escape") {
    close();
    form.querySelector("[data-search]").focus();
    return;
  }
  if (!["ArrowDown", "ArrowUp"].includes(event.key)) return;
  event.preventDefault();
  const all = links();
  const to = all.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
  if (to < 0) form.querySelector("[data-search]").focus();
  else all[Math.min(to, all.length - 1)]?.focus();
});

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-search-everywhere]")) close();
});
document.addEventListener("focusin", (event) => {
  if (!event.target.closest("[data-search-everywhere]")) close();
});
