/** What is known of a visitor, at the head of the conversation. Every value came from a browser: it is shown as text. */

import { make } from "./dom.js";
import { link } from "./text.js";

/** @typedef {import("./connection.js").Profile} Profile */

/**
 * @param {HTMLDListElement} list
 * @param {Profile} profile
 */
export function showFacts(list, { page, email, identity, locale, timezone }) {
  /** @type {[string, string | Node][]} */
  const facts = [
    ["Page", page.url ? link(page.url, page.title || page.url) : ""],
    ["Came from", page.referrer ? link(page.referrer, page.referrer) : ""],
    ["E-mail", email ? link(`mailto:${email}`, email) : ""],
    ["Customer", identity ?? ""],
    ["Language", locale ? language(locale) : ""],
    ["Local time", timezone ? localTime(timezone) : ""],
  ];
  const known = facts.filter(([, value]) => value);
  list.replaceChildren(...known.map(([label, value]) => make("div", "", make("dt", "", label), described(value))));
}

/** @param {string | Node} value */
function described(value) {
  const shown = make("dd", "", value);
  shown.title = value instanceof HTMLAnchorElement ? value.href : (shown.textContent ?? "");
  shown.dir = "auto";
  return shown;
}

/** @param {string} locale */
function language(locale) {
  try {
    return new Intl.DisplayNames([], { type: "language" }).of(locale) ?? locale;
  } catch {
    return locale;
  }
}

/** @param {string} timezone */
function localTime(timezone) {
  try {
    const time = new Date().toLocaleTimeString([], { timeZone: timezone, weekday: "short", hour: "2-digit", minute: "2-digit" });
    return `${time}, ${(timezone.split("/").pop() ?? timezone).replaceAll("_", " ")}`;
  } catch {
    return timezone;
  }
}
