// Shows exact times in the viewer's own zone on hover; the server knows only its own.

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

function localise(root) {
  for (const each of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(each.dateTime);
    if (!Number.isNaN(moment.getTime())) each.title = exact.format(moment);
  }
}

localise(document);
document.addEventListener("htmx:afterSwap", () => localise(document));
