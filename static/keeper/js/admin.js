// What the admin has of Keeper's scripts: its forms outlive their session, and are not left unsaved.
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
