/** The whole conversation as a text file. Loaded when the visitor asks for it. */
import { literal, markdown } from "./nodes.js";
import { plain } from "./plain.js";
import { save } from "./save.js";
import { locale, say, sizeOf, teach } from "./texts.js";

/** What the log shows of what happened. */
const EVENTS = ["closed", "reopened"];

teach({
  nothing: "There is nothing to download yet.",
  file: "File: {name} ({size})",
  broken: "This does not work at the moment.",
});

/** @param {Chat.Room} room */
export async function download({ host, connection, parts, tell }) {
  if (!parts.log.querySelector(".message")) return tell(say("nothing"));
  const token = connection.ticket();
  if (!token) return tell(say("offline"));
  try {
    const title = parts.panel.ariaLabel ?? "";
    const written = transcript(title, await everything(host.origin, token));
    const url = URL.createObjectURL(new Blob([written], { type: "text/plain;charset=utf-8" }));
    await save(url, `${title} ${new Date().toLocaleDateString("sv")}.txt`); // Swedish dates are those of ISO 8601
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch {
    tell(say("broken"));
  }
}

/** Fetches all messages, a page at a time, apart from what the panel shows. @param {string} origin @param {string} token */
async function everything(origin, token) {
  /** @type {Chat.Message[]} */
  const all = [];
  for (let before = Number.MAX_SAFE_INTEGER, more = true; more; ) {
    const answer = await fetch(origin + "/v1/frames", {
      method: "POST", credentials: "omit", headers: { Authorization: `Bearer ${token}` }, body: JSON.stringify({ type: "history", before }),
    });
    const frame = [await answer.json()].flat()[0];
    if (frame.retry_after) await new Promise((done) => setTimeout(done, frame.retry_after * 1000));
    else {
      all.unshift(...frame.messages);
      before = all[0]?.seq;
      more = frame.more;
    }
  }
  return all;
}

/** @param {string} title @param {Chat.Message[]} messages */
function transcript(title, messages) {
  const dates = new Intl.DateTimeFormat(locale, { dateStyle: "full" });
  const times = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
  const lines = [title, location.origin];
  let day = "";
  for (const message of messages) {
    const { from, event, at, edited, deleted } = message;
    if (from.kind === "system" && !EVENTS.includes(event ?? "")) continue;
    const date = new Date(at);
    if (day !== dates.format(date)) lines.push("", `--- ${(day = dates.format(date))} ---`);
    const author = from.kind === "visitor" ? say("you") : from.name;
    const head = [times.format(date), event ? say(event) : author, ...(edited && !deleted ? [`(${say("edited")})`] : [])];
    lines.push("", head.filter(Boolean).join("  "), ...(event ? [] : said(message)));
  }
  return lines.join("\n") + "\n";
}

/** @param {Chat.Message} message @returns {string[]} */
function said({ text, format, deleted, attachments = [] }) {
  if (deleted) return [say("deleted")];
  const written = plain(format === "markdown" ? markdown(text.split("\n")) : literal(text));
  return [...(written ? [written] : []), ...attachments.map(({ name, size }) => say("file", { name, size: sizeOf(size) }))];
}
