/** The demonstration's own script: each switch is one call of the widget's JavaScript API, and all of them are told. */

const form = /** @type {HTMLFormElement} */ (document.querySelector(".options form"));
const told = /** @type {HTMLElement} */ (document.querySelector(".told"));
const MOST = 100;
const EVENTS = /** @type {const} */ (["ready", "open", "close", "message:sent", "message:received", "unread", "error"]);

/** What a checked switch stands for. @type {Record<string, Threadbridge.Options>} */
const SWITCHED = {
  logo: { logo: "/demo/logo.svg" },
  team: {
    team: [
      { name: "Ada", picture: "/demo/ada.svg" },
      { name: "Ben", picture: "/demo/ben.svg" },
      { name: "Noor", picture: "/demo/noor.svg" },
    ],
  },
  questions: { questions: ["Where is my order?", "Which coffee is for a moka pot?", "Do you deliver to Malta?"] },
  consent: { consent: "We keep what you write here for a year." },
  privacy: { privacy: "https://example.com/privacy" },
  texts: { texts: { write: "Ask the roasters…", send: "Off it goes" } },
};
/** And one that is not. @type {Record<string, Threadbridge.Options>} */
const WITHOUT = { logo: { logo: "" }, team: { team: [] }, questions: { questions: [] }, consent: { consent: "" }, privacy: { privacy: "" }, texts: { texts: {} } };

/** @type {Record<string, unknown[]>} */
const GIVEN = {
  // The site's server makes the hash; that of this demonstration is known to everybody.
  identify: [{ id: "mara", name: "Mara Lindqvist", email: "mara@example.com", hash: "d0b1dd47a523c1e0c1b2fae3c0f9f67aee00d3e0f2fd978eb8d628aeec38561a" }],
  prefill: ["Is the Midnight good in a moka pot?"],
  send: ["Do you have gift cards?"],
  track: ["Added to cart", { item: "Sunrise", grams: 250 }],
};

/** @param {string} text */
function tell(text) {
  const line = document.createElement("div");
  line.textContent = text;
  told.append(line);
  if (told.childElementCount > MOST) told.firstElementChild?.remove();
  told.scrollTop = told.scrollHeight;
}

/** What is called before the widget's script is there waits for it. @type {any} */
const waiting = (/** @type {unknown[]} */ ...call) => {
  (waiting.q ??= []).push(call);
};
window.threadbridge ??= waiting;

/** @param {any[]} given */
function call(...given) {
  const answer = /** @type {any} */ (window.threadbridge)(...given);
  const [verb, ...values] = given;
  const shown = values.map((value) => ` ${JSON.stringify(value)}`).join();
  if (verb !== "on") tell(`${verb}${shown}${answer === undefined ? "" : ` → ${answer}`}`);
}

for (const event of EVENTS) {
  call("on", event, (/** @type {unknown} */ detail) => tell(`« ${event} ${detail === undefined ? "" : JSON.stringify(detail)}`));
}

/** @param {string} name @param {boolean} on */
function turn(name, on) {
  if (name === "target") {
    const place = /** @type {HTMLElement} */ (document.querySelector("#inline"));
    place.hidden = !on;
    call("destroy");
    call("boot", { target: on ? "#inline" : null });
    if (on) place.scrollIntoView({ block: "center" });
  } else call("update", (on ? SWITCHED : WITHOUT)[name] ?? { [name]: on });
}

form.addEventListener("input", ({ target }) => {
  const field = /** @type {HTMLInputElement | HTMLSelectElement} */ (target);
  if (field.type === "checkbox") turn(field.name, /** @type {HTMLInputElement} */ (field).checked);
  else if (field.name === "locale") call("setLocale", field.value);
  else if (field.name === "theme") call("setTheme", field.value);
  else call("update", { [field.name]: field.type === "range" ? Number(field.value) : field.value });
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("click", ({ target }) => {
  const verb = target instanceof HTMLElement ? target.dataset.call : undefined;
  if (verb) call(verb, ...(GIVEN[verb] ?? []));
});

export {}; // a module
