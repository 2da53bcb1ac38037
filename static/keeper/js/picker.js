// A list of many choices that is searched by typing. Without this module, and for fingers, it is the browser's own list.

function item(option, choose) {
  const row = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "menu-item";
  button.textContent = option.textContent;
  button.addEventListener("click", () => choose(option));
  row.append(button);
  return row;
}

function heading(text) {
  const row = document.createElement("li");
  row.className = "picker-head";
  row.textContent = text;
  return row;
}

function rows(select, choose) {
  return [...select.children].flatMap((child) =>
    child.matches("optgroup") ? [heading(child.label), ...[...child.children].map((option) => item(option, choose))] : [item(child, choose)]);
}

function searchField(name) {
  const row = document.createElement("li");
  row.className = "menu-filter";
  const input = document.createElement("input");
  Object.assign(input, { type: "search", className: "form-control form-control-sm", placeholder: name, ariaLabel: name, autocomplete: "off" });
  input.dataset.menuFilter = "";
  // The form around it is sent by a choice alone.
  input.addEventListener("change", (event) => event.stopPropagation());
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    const found = [...input.closest("ul").querySelectorAll("button")].find((button) => button.offsetParent);
    if (input.value.trim()) found?.click();
  });
  row.append(input);
  return row;
}

function enhance(place) {
  const select = place.querySelector("select");
  const menu = document.createElement("details");
  const summary = document.createElement("summary");
  const show = () => {
    summary.textContent = select.selectedOptions[0].textContent;
    summary.setAttribute("aria-label", `${select.getAttribute("aria-label")}: ${summary.textContent}`);
  };
  const choose = (option) => {
    select.value = option.value;
    show();
    menu.open = false;
    summary.focus();
    select.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const panel = document.createElement("ul");
  panel.className = "menu-panel";
  panel.append(searchField(place.dataset.picker), ...rows(select, choose));
  menu.className = "menu picker";
  menu.dataset.menu = "";
  menu.append(summary, panel);
  select.hidden = true;
  place.append(menu);
  show();
}

if (matchMedia("(pointer: fine)").matches) document.querySelectorAll("[data-picker]").forEach(enhance);
