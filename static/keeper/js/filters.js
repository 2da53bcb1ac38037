// Keeps addresses short: what is not filtered by does not appear in them.

document.addEventListener("formdata", (event) => {
  if (!event.target.matches("[data-clean]")) return;
  for (const [name, value] of [...event.formData.entries()]) {
    if (value === "") event.formData.delete(name);
  }
});

document.addEventListener("htmx:responseError", async (event) => {
  const { say } = await import("./say.js");
  // The problem page says what happened; its sentence is shown where the person is.
  const page = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
  const sentence = page.querySelector("[data-problem-detail]")?.textContent.trim();
  say(sentence || "Keeper did not answer as expected. Nothing was changed; try again.");
});

document.addEventListener("htmx:sendError", async () => {
  const { say } = await import("./say.js");
  say("Keeper cannot be reached. Nothing was changed; try again.");
});

// A signed-out session answers with a redirect to the sign-in page, which must not be put into a list.
document.addEventListener("htmx:beforeSwap", (event) => {
  const kind = event.detail.xhr.getResponseHeader("Content-Type") || "";
  if (!kind.startsWith("text/html") || event.detail.xhr.responseURL.includes("/sign-in")) {
    event.detail.shouldSwap = false;
    if (event.detail.xhr.responseURL.includes("/sign-in")) location.reload();
  }
});
