// What the admin has of Keeper's scripts: the frame's, and its forms outlive their session, and are not left unsaved.
import "./menus.js";
import "./palette.js";
import "./shortcuts.js";
import "./shown_when.js";
import "./submit.js";

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
