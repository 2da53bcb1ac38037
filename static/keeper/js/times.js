// Shows exact times on hover: in the zone that the person chose, or else the browser's.

const timeZone = document.documentElement.dataset.timeZone;
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long", timeZone });

function localise(root) {
  for (const each of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(each.dateTime);
    if (!Number.isNaN(moment.getTime())) each.title = exact.format(moment);
  }
}

localise(document);
document.addEventListener("htmx:afterSwap", () => localise(document));
