// What is pressed before the other scripts have run: kept, and pressed again once they have, so that no key is
// lost and nothing that asks first is sent unasked. The one script besides theme.js that does not wait for the page.
"use strict";
(() => {
  const FORMS = "form[method=post], form[hx-get]";
  const BUTTONS = "button[type=button], [data-select-all]";
  const kept = [];

  const keep = (event, again) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    kept.push(again);
  };

  const type = (key) => {
    const target = document.activeElement || document.body;
    if (target.matches("[data-search]")) {
      // "/" went there, and what followed it is text.
      target.setRangeText(key, target.selectionStart, target.selectionEnd, "end");
      target.dispatchEvent(new InputEvent("input", { bubbles: true }));
    } else {
      target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    }
  };

  const listeners = {
    keydown(event) {
      const { key, target } = event;
      const alone = !event.ctrlKey && !event.metaKey && !event.altKey && !event.isComposing;
      if (!alone || key.length !== 1 || key === " " || target.closest?.("input, textarea, select")) return;
      keep(event, () => type(key));
    },
    submit(event) {
      const { target, submitter } = event;
      if (target.matches(FORMS)) keep(event, () => target.requestSubmit(submitter));
    },
    click(event) {
      const button = event.target.closest?.(BUTTONS);
      if (button) keep(event, () => button.click());
    },
  };

  for (const [name, listener] of Object.entries(listeners)) document.addEventListener(name, listener, true);
  // Deferred scripts and modules have run by then; htmx begins at the same event on the document, which comes first.
  addEventListener("DOMContentLoaded", () => {
    for (const [name, listener] of Object.entries(listeners)) document.removeEventListener(name, listener, true);
    for (const again of kept) again();
  });
})();
