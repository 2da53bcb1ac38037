// Keeps addresses short: what is not filtered by does not appear in them. Says what went wrong with a part of a page.
import { say, sentenceIn } from "./say.js";
import { expired, signInAgain } from "./session.js";

document.addEventListener("formdata", (event) => {
  if (!event.target.matches("[data-clean]")) return;
  for (const [name, value] of [...event.formData.entries()]) {
    if (value === "") event.formData.delete(name);
  }
});

document.addEventListener("htmx:responseError", (event) => {
  // What was pressed is asked about; what renews itself waits beside a notice.
  if (event.detail.xhr.status === 401) return event.detail.requestConfig.verb === "get" ? expired() : signInAgain();
  say(sentenceIn(event.detail.xhr.responseText) || "Keeper did not answer as expected. Nothing was changed; try again.");
});

document.addEventListener("htmx:sendError", () => {
  say("Keeper cannot be reached. Nothing was changed; try again.");
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const kind = event.detail.xhr.getResponseHeader("Content-Type") || "";
  if (!kind.startsWith("text/html")) event.detail.shouldSwap = false;
});
