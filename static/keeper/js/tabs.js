// Shows one part of a page at a time. The links of a `data-tabs` name the parts by `data-tab`; without this script
// all parts are shown, below each other, and the links lead to them.

const parts = (nav, name) => [...document.querySelectorAll(`[data-tab="${CSS.escape(name)}"]`)].filter((part) => part.dataset.tabsOf === nav.id);
const links = (nav) => [...nav.querySelectorAll("a[href^='#']")];

function show(nav, name) {
  for (const link of links(nav)) {
    const current = link.hash.slice(1) === name;
    link.toggleAttribute("aria-current", current);
    if (current) link.setAttribute("aria-current", "true");
    for (const part of parts(nav, link.hash.slice(1))) part.hidden = !current;
  }
}

// Returns the part that the address names, by itself or by something within it; else the one with a refused form.
function wanted(nav) {
  const within = (element) => element?.closest(`[data-tabs-of="${CSS.escape(nav.id)}"]`)?.dataset.tab;
  const named = location.hash.length < 2 ? null : document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const refused = `[data-tabs-of="${CSS.escape(nav.id)}"] :is(.field-error, .notice-error)`;
  return within(named) || within(document.querySelector(refused));
}

function open(nav) {
  show(nav, wanted(nav) || links(nav)[0]?.hash.slice(1));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("[data-tabs] a[href^='#']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const nav = link.closest("[data-tabs]");
  show(nav, link.hash.slice(1));
  if (nav.dataset.tabs === "page") history.replaceState(history.state, "", link.hash);
});
addEventListener("hashchange", () => {
  for (const nav of document.querySelectorAll("[data-tabs]")) if (wanted(nav)) open(nav);
});
document.querySelectorAll("[data-tabs]").forEach(open);
if (location.hash && document.querySelector("[data-tabs=page]")) {
  // The part was hidden, or others above it were shown, when the browser went there.
  document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView({ block: "nearest" });
}
