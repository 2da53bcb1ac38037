// Watches over the session of a page: warns before it ends, and has the person sign in again without leaving the
// page. What was entered stays in the page alone; nothing is stored.
import { say } from "./say.js";

const WARN_SECONDS = 120;
// While something may change in another tab.
const POLL_SECONDS = 3;
const UNREACHABLE = "Keeper cannot be reached. Nothing was sent; try again.";

const dialog = document.getElementById("session");
const notice = document.getElementById("session-notice");
const { person, name, stateUrl, signInUrl, codeUrl } = dialog?.dataset || {};

let timer = null;
let asking = null;

// Pages that are nobody's have no session to watch.
export const isPerson = () => Boolean(person);
const isOurs = (state) => state.person === person;

const part = (selector) => dialog.querySelector(selector);

// Returns the state of the session, or null if the server does not answer. It does not extend the session.
async function look(method = "GET", csrf = "") {
  try {
    const headers = { Accept: "application/json", "X-Requested-With": "fetch" };
    if (csrf) headers["X-CSRFToken"] = csrf;
    const answer = await fetch(stateUrl, { method, headers, cache: "no-store", redirect: "error", signal: AbortSignal.timeout(15000) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

// A sign-in anywhere in this browser renews the token that every form sends.
function renew(state) {
  for (const field of document.querySelectorAll("[name=csrfmiddlewaretoken]")) field.value = state.csrf;
}

export class SessionEnded extends Error {
  constructor(state = { person: "" }) {
    super("session ended");
    this.state = state;
  }
}

// Throws SessionEnded if the session is not that of the page's person, for what does not leave the page.
export async function requireSession() {
  const state = await look();
  if (!state) throw new Error("unreachable");
  if (!isOurs(state)) throw new SessionEnded(state);
  renew(state);
}

// Returns whether a form may be sent; asks to sign in again if that is needed.
export async function ensureSession(form) {
  const state = await look();
  if (!state) {
    say(UNREACHABLE);
    return false;
  }
  if (!isOurs(state)) return signInAgain(state, true);
  renew(state);
  const own = form.querySelector("[name=csrfmiddlewaretoken]");
  if (own) own.value = state.csrf;
  return true;
}

// --- The notice ---------------------------------------------------------------------------------------

function show(words, { stay = false, again = false } = {}) {
  const text = notice.querySelector("[data-session-words]");
  if (text.textContent !== words) text.textContent = words;
  notice.querySelector("[data-session-stay]").hidden = !stay;
  notice.querySelector("[data-session-again]").hidden = !again;
  notice.hidden = !words;
}

const clock = (seconds) => new Date(Date.now() + seconds * 1000).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });

function follow(state) {
  clearTimeout(timer);
  if (!isOurs(state)) return ended(state);
  const left = state.ends_in;
  if (left > WARN_SECONDS) show("");
  else if (state.extendable) show(`Your session ends at ${clock(left)} because it is not used.`, { stay: true });
  else show(`Your session ends at ${clock(left)} and cannot be extended. Save your work.`);
  const wait = left > WARN_SECONDS ? left - WARN_SECONDS : Math.min(left, 15);
  timer = setTimeout(check, Math.min(wait + 1, 86400) * 1000);
}

function ended(state) {
  if (state.person) show(`${state.name} is signed in in this browser now. This page is of ${name}.`, { again: true });
  else show("Your session has expired. Sign in again.", { again: true });
}

// Shows that the session has ended, after an answer that said so.
export function expired() {
  clearTimeout(timer);
  if (!dialog.open) ended({ person: "" });
}

async function check() {
  const state = await look();
  if (state) follow(state);
  else timer = setTimeout(check, 15000);
}

async function stay() {
  const before = await look();
  const state = before && isOurs(before) ? await look("POST", before.csrf) : before;
  if (!state) return say(UNREACHABLE);
  if (!isOurs(state)) return signInAgain(state, false);
  follow(state);
  say("You stay signed in.");
}

// --- The dialog ---------------------------------------------------------------------------------------

function describe(state, sends) {
  const other = state.person && !isOurs(state);
  part("#session-title").textContent = other ? "Another person is signed in" : "Your session has expired";
  const then = sends ? " What you entered is still here, and is sent as soon as you are signed in." : " What you entered is still here.";
  part("#session-text").textContent = other
    ? `${state.name} is signed in in this browser now. This page is of ${name}: nothing was sent. Sign in as ${name} to go on.`
    : `Sign in again as ${name}.${then}`;
}

function refuse(words) {
  const line = part("[data-session-error]");
  line.textContent = words;
  line.hidden = !words;
}

function step(code) {
  const [password, second] = [part("[data-session-password]"), part("[data-session-code]")];
  if (!password) return;
  password.reset();
  second.reset();
  password.hidden = code;
  second.hidden = !code;
  (code ? second : password).querySelector("input:not([readonly])").focus();
}

// Asks to sign in again; resolves to true once the page's person is signed in, to false if the dialog is closed.
export function signInAgain(state = { person: "" }, sends = false) {
  if (asking) return asking.done;
  clearTimeout(timer);
  show("");
  describe(state, sends);
  refuse("");
  let resolve;
  const done = new Promise((settle) => (resolve = settle));
  asking = { done, resolve, sends, state };
  dialog.returnValue = "";
  dialog.showModal();
  step(false);
  timer = setTimeout(poll, POLL_SECONDS * 1000);
  return done;
}

function finish(state) {
  renew(state);
  asking.state = state;
  dialog.close("signed-in");
  say("You are signed in again.");
}

// Another tab may sign in, with single sign-on for instance.
async function poll() {
  clearTimeout(timer);
  const state = await look();
  if (!asking) return;
  if (state && isOurs(state)) return finish(state);
  if (state && state.person !== asking.state.person) {
    asking.state = state;
    describe(state, asking.sends);
  }
  timer = setTimeout(poll, POLL_SECONDS * 1000);
}

// The words of the page that a sign-in answered with.
async function refusalIn(answer) {
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const words = page.querySelector("[role=alert], .field-error, [data-problem-detail]")?.textContent.trim();
  return words || "Keeper did not answer as expected. Try again.";
}

async function signIn(form) {
  const before = await look();
  if (!before) return refuse(UNREACHABLE);
  const body = new FormData(form);
  body.set("csrfmiddlewaretoken", before.csrf);
  body.set("next", stateUrl);
  const url = form.matches("[data-session-code]") ? codeUrl : signInUrl;
  let answer;
  try {
    answer = await fetch(url, { method: "POST", body, cache: "no-store", signal: AbortSignal.timeout(15000) });
  } catch {
    return refuse(UNREACHABLE);
  }
  const state = await look();
  if (!asking || !state) return asking && refuse(UNREACHABLE);
  if (isOurs(state)) return finish(state);
  const wantsCode = new URL(answer.url).pathname === codeUrl;
  const isRefusal = !wantsCode || url === codeUrl;
  refuse(isRefusal ? await refusalIn(answer) : "");
  step(wantsCode);
}

if (dialog) {
  dialog.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.submitter;
    if (button) button.disabled = true;
    await signIn(event.target);
    if (button) button.disabled = false;
  });
  dialog.addEventListener("close", () => {
    const { resolve, state } = asking;
    asking = null;
    step(false);
    follow(isOurs(state) ? state : { person: state.person, name: state.name });
    resolve(isOurs(state));
  });
  dialog.querySelector("[data-session-close]").addEventListener("click", () => dialog.close());
  notice.querySelector("[data-session-stay]").addEventListener("click", stay);
  notice.querySelector("[data-session-again]").addEventListener("click", () => signInAgain());
  // A laptop that slept, or a tab that comes back: the clock of before is no measure.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible") return;
    if (asking) poll();
    else check();
  });
  addEventListener("pageshow", (event) => event.persisted && check());
  if ("endsIn" in dialog.dataset) follow({ person, ends_in: Number(dialog.dataset.endsIn), extendable: "extendable" in dialog.dataset });
  else if (person) check();
}
