/** Gives files new addresses in a page that is open for longer than the old ones hold. Loaded with what follows the visitor through the log. */
import { say } from "./texts.js";

/** @param {Chat.Room} room */
export function renew({ host: { origin }, connection, parts: { log }, tell }) {
  /** What was given, and what there is nothing new for: a browser's clock may be wrong. @type {Set<string>} */
  const settled = new Set();
  /** @type {Promise<void> | undefined} */
  let asking;

  const ended = (/** @type {Element} */ one) => !settled.has(addressOf(one)) && endOf(addressOf(one)) < Date.now();
  const ask = async () => {
    const newest = [...log.querySelectorAll("[data-seq]")].at(-1)?.getAttribute("data-seq");
    const files = await attached(origin, connection.ticket() ?? "", Number(newest));
    for (const one of [...log.querySelectorAll(".files :is(a, audio)")].filter(ended)) {
      const address = files.get(new URL(addressOf(one)).pathname) ?? addressOf(one);
      settled.add(address);
      one.setAttribute(one.matches("a") ? "href" : "src", address);
    }
  };
  const first = (/** @type {Event} */ event, /** @type {() => void} */ then) => {
    event.preventDefault();
    event.stopPropagation();
    asking ??= ask().finally(() => (asking = undefined));
    asking.then(then).catch(() => tell(say("offline")));
  };

  const clicked = (/** @type {Event} */ event) => {
    const link = /** @type {Element} */ (event.target).closest(".files a");
    if (link instanceof HTMLAnchorElement && ended(link)) first(event, () => link.click());
  };
  const failed = (/** @type {Event} */ event) => {
    const { target } = event;
    if (target instanceof HTMLAudioElement && ended(target)) first(event, () => target.play());
  };
  log.addEventListener("click", clicked, { capture: true });
  log.addEventListener("error", failed, { capture: true });
}

/** @param {Element} one a link or a player */
function addressOf(one) {
  return one instanceof HTMLAudioElement ? one.src : /** @type {HTMLAnchorElement} */ (one).href;
}

/** When an address ends, in milliseconds; never where it does not say. */
function endOf(address = "") {
  return Number(new URL(address).searchParams.get("e") ?? Infinity) * 1000;
}

/** The present addresses of the files of up to 200 messages, by their paths. @param {string} origin @param {string} token @param {number} newest the last message's */
async function attached(origin, token, newest) {
  const answer = await fetch(origin + "/v1/frames", {
    method: "POST", credentials: "omit", headers: { Authorization: `Bearer ${token}` },
    body: JSON.stringify({ type: "history", before: newest + 1 }),
  });
  // Not taken apart here: the minifier would do that ahead of the answer
  const frames = /** @type {{messages: Chat.Message[]}[]} */ (await answer.json());
  const addresses = frames[0].messages.flatMap(({ attachments = [] }) => attachments.map(({ url }) => new URL(url ?? "", origin)));
  return new Map(addresses.map(({ pathname, href }) => [pathname, href]));
}
