// What the admin has of Keeper's scripts: its forms outlive their session, and are not left unsaved.
import "./shown_when.js";
import "./submit.js";

// "/" leads to the search over everything, unless somebody types.
document.addEventListener("keydown", (event) => {
  const field = document.querySelector("[data-find]");
  if (!field || event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  event.preventDefault();
  field.focus();
  field.select();
});

// A table that is wider than the window scrolls, also by the keys.
function letScroll(wide) {
  const scrolls = wide.scrollWidth > wide.clientWidth || wide.scrollHeight > wide.clientHeight;
  if (scrolls) wide.tabIndex = 0;
  else wide.removeAttribute("tabindex");
}
const resized = new ResizeObserver((entries) => entries.forEach((entry) => letScroll(entry.target)));
for (const wide of document.querySelectorAll(".wide")) {
  letScroll(wide);
  resized.observe(wide);
}

// A filter closes by Escape, and when somebody clicks elsewhere.
function closeFilters(except) {
  for (const open of document.querySelectorAll("details.filter[open]")) if (open !== except) open.open = false;
}
document.addEventListener("click", (event) => closeFilters(event.target.closest("details.filter")));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = document.querySelector("details.filter[open]");
  closeFilters();
  open?.querySelector("summary").focus();
});

// The groups of the sidebar open while their lists are searched.
document.querySelector("#nav-filter")?.addEventListener("input", (event) => {
  for (const group of document.querySelectorAll("#nav-sidebar details")) {
    if (group.dataset.wasOpen === undefined) group.dataset.wasOpen = group.open ? "yes" : "";
    group.open = Boolean(event.target.value) || group.dataset.wasOpen === "yes";
  }
});
