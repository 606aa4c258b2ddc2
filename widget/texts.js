/** What the widget says: English here, other languages in `lang/`, and whatever a page says instead. */

const LANGUAGES = ["ar", "de", "es", "fa", "fr", "it", "ja", "nl", "pl", "pt", "tr"];
const RIGHT_TO_LEFT = ["ar", "fa"];

/** @typedef {Record<string, string | Record<string, string>>} Texts */

/** @type {Texts} */
const TEXTS = {
  chat: "Chat",
  open: "Open chat",
  close: "Close chat",
  more: "More",
  unread: { one: "{n} unread message", other: "{n} unread messages" },
  greeting: "Hello! How can we help?",
  conversation: "Conversation",
  messages: "Messages",
  news: "New messages",
  write: "Write a message…",
  message: "Message",
  send: "Send",
  attach: "Attach files",
  voice: "Record a voice note",
  connecting: "Connecting…",
  delayed: "Your message cannot be taken yet. Keep this page open: it is sent as soon as possible.",
  unavailable: "This chat is not available at the moment.",
  you: "You",
  edited: "Edited",
  deleted: "Message deleted",
  closed: "Conversation closed",
  reopened: "Conversation reopened",
  sending: "Sending…",
  stored: "Sent",
  waiting: "Not delivered yet",
  sent: "Delivered",
  seen: "Seen",
  failed: "Not delivered",
  again: "Try again",
  offline: "No connection.",
};

let spoken = TEXTS;
/** The language, as Intl knows it. */
export let locale = "en";

/**
 * Takes over a language before anything is said, and what the page says in it. Returns its direction.
 * @param {string} wanted @param {Texts} [own]
 */
export async function speak(wanted, own) {
  const tag = String(wanted).replaceAll("_", "-");
  const language = tag.toLowerCase().split("-")[0];
  let translated;
  locale = "en";
  try {
    if (LANGUAGES.includes(language)) {
      const answer = await fetch(new URL(`lang/${language}.json`, import.meta.url), { credentials: "omit" });
      translated = await answer.json();
      locale = language;
    }
    if (locale === language) [locale] = Intl.getCanonicalLocales(tag);
  } catch {} // English, or the language of no country, is better than nothing
  spoken = { ...TEXTS, ...translated, ...own };
  return RIGHT_TO_LEFT.includes(locale.split("-")[0]) ? "rtl" : "ltr";
}

/** Adds the English of what is loaded on demand: the languages' texts, and the page's own, are there already. @param {Texts} english */
export function teach(english) {
  Object.assign(TEXTS, english);
  spoken = { ...english, ...spoken };
}

/** Says something: `{n}` picks the plural form. @param {string} key @param {Record<string, string | number>} [values] */
export function say(key, values = {}) {
  const text = /** @type {any} */ (spoken[key]);
  const form = text?.other ? (text[new Intl.PluralRules(locale).select(Number(values.n))] ?? text.other) : text;
  return String(form).replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? value.toLocaleString(locale) : value;
  });
}

/** A file's size, rounded up: one above a limit never reads as the limit. @param {number} bytes */
export function sizeOf(bytes) {
  const [unit, value] = bytes < 1e6 ? ["kilobyte", Math.ceil(bytes / 1e3)] : ["megabyte", Math.ceil(bytes / 1e5) / 10];
  return value.toLocaleString(locale, { style: "unit", unit });
}
