/** One conversation: its messages in the order of the log, notes that only this page has, and who writes just now. */

import { arrange, byId, icon, make } from "./dom.js";
import { link, literal, rich } from "./text.js";

/** @typedef {import("./connection.js").Attachment} Attachment */
/** @typedef {import("./connection.js").Entry} Entry */
/** @typedef {import("./connection.js").Message} Message */

const EVENTS = { opened: "The conversation was opened", closed: "Closed", reopened: "Reopened", tracked: "On the page: " };
const PICTURE = /^image\/(?:png|jpeg|gif|webp|avif)$/;
const TOGETHER = 5 * 60_000;
const NEAR = 80;

/** @param {string} at */
function clock(at) {
  return new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** @param {string} at */
function day(at) {
  return new Date(at).toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" });
}

/** @param {number} bytes */
function measure(bytes) {
  const kilo = bytes >= 1e6 ? "megabyte" : "kilobyte";
  const amount = Math.max(bytes / (kilo === "megabyte" ? 1e6 : 1e3), 0.1);
  return amount.toLocaleString([], { style: "unit", unit: kilo, maximumFractionDigits: 1 });
}

/**
 * Something in the thread: a message of the log with its element, or a note.
 *
 * @typedef {{ seq: number, kind: string, name: string, at: string, text: string, element: HTMLElement }} Item
 */

export class Thread {
  #list = byId("thread", HTMLElement);
  #scroll = byId("scroll", HTMLElement);
  #newer = byId("newer", HTMLButtonElement);
  #typing = byId("typing", HTMLElement);
  /** @type {Map<number, Message>} */
  #messages = new Map();
  /** @type {Map<number, Item>} */
  #items = new Map();
  /** @type {Item[]} */
  #notes = [];
  /** @type {Map<string, HTMLElement>} */
  #days = new Map();
  #stick = true;
  /** The number of the last entry that is held. */
  seq = 0;

  /** @param {(message: Message) => { name: string, own: boolean }} author */
  constructor(author) {
    this.author = author;
    this.#scroll.addEventListener("scroll", () => {
      this.#stick = this.#scroll.scrollHeight - this.#scroll.scrollTop - this.#scroll.clientHeight < NEAR;
      if (this.#stick) this.#newer.hidden = true;
    });
    this.#newer.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.#stick && this.toEnd()).observe(this.#scroll);
    this.#list.addEventListener("load", () => this.#stick && this.toEnd(), true);
  }

  /** @param {{ text: string, at: string }[]} notes that were written here before */
  clear(notes) {
    this.seq = 0;
    this.#messages.clear();
    this.#items.clear();
    this.#days.clear();
    this.#notes = notes.map((note) => noteItem(note));
    this.#list.replaceChildren();
    this.#newer.hidden = true;
    this.#stick = true;
    this.showTyping("");
  }

  /**
   * @param {Entry[]} entries in any order, repeats are no harm
   * @param {boolean} quiet history: screen readers are not told
   */
  add(entries, quiet) {
    const before = this.seq;
    this.#list.setAttribute("aria-live", quiet ? "off" : "polite");
    for (const entry of [...entries].sort((a, b) => a.seq - b.seq)) {
      if (entry.seq <= before) continue;
      this.seq = entry.seq;
      if (entry.type === "message") this.#put(entry);
      else this.#revise(entry);
    }
    this.#arrange();
    if (this.#stick) this.toEnd();
    else if (!quiet && this.seq > before) this.#newer.hidden = false;
  }

  /** @param {{ text: string, at: string }} note */
  addNote(note) {
    this.#notes.push(noteItem(note));
    this.#arrange();
    this.toEnd();
  }

  /** @param {string} who empty where nobody */
  showTyping(who) {
    this.#typing.replaceChildren(...(who ? [dots(), `${who} is typing`] : []));
    if (this.#stick) this.toEnd();
  }

  toEnd() {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#newer.hidden = true;
    this.#stick = true;
  }

  /** @param {import("./connection.js").Revision} revision */
  #revise({ of, text, rich, deleted }) {
    const message = this.#messages.get(of);
    if (!message) return;
    const { rich: _, ...rest } = message;
    this.#put({ ...rest, text, ...(rich ? { rich } : {}), ...(deleted ? { deleted } : { edited: true }) });
  }

  /** @param {Message} message */
  #put(message) {
    this.#messages.set(message.seq, message);
    const { name, own } = this.author(message);
    const element = message.event ? eventElement(message, name) : messageElement(message, name, own);
    element.dataset["seq"] = String(message.seq);
    element.dataset["kind"] = message.from.kind;
    this.#items.set(message.seq, { seq: message.seq, kind: message.from.kind, name, at: message.at, text: message.text, element });
  }

  #arrange() {
    const items = [...this.#items.values(), ...this.#notes].sort((a, b) => (a.at === b.at ? a.seq - b.seq : a.at < b.at ? -1 : 1));
    /** @type {HTMLElement[]} */
    const shown = [];
    /** @type {Item | undefined} */
    let previous;
    for (const item of inLogOrder(items)) {
      const today = this.#day(day(item.at));
      if (!shown.includes(today)) {
        shown.push(today);
        previous = undefined;
      }
      item.element.classList.toggle("follows", previous !== undefined && follows(previous, item));
      shown.push(item.element);
      previous = item;
    }
    arrange(this.#list, shown);
  }

  /** @param {string} label */
  #day(label) {
    const held = this.#days.get(label) ?? make("div", "day", make("span", "", label));
    this.#days.set(label, held);
    return held;
  }
}

/**
 * Puts what is of the log in the order of the log, whatever clocks said; notes stay where their time put them.
 *
 * @param {Item[]} items
 */
function inLogOrder(items) {
  const logged = items.filter(({ seq }) => seq < Infinity).sort((a, b) => a.seq - b.seq);
  return items.map((item) => (item.seq < Infinity ? /** @type {Item} */ (logged.shift()) : item));
}

/**
 * @param {Item} before
 * @param {Item} item
 */
function follows(before, item) {
  return before.kind === item.kind && before.name === item.name && Date.parse(item.at) - Date.parse(before.at) < TOGETHER;
}

/**
 * @param {Message} message
 * @param {string} name
 * @param {boolean} own
 */
function messageElement(message, name, own) {
  const head = make("p", "by", make("strong", "", own ? "You" : name), " ", timeElement(message.at));
  const body = make("div", "bubble");
  const item = make("div", `message${own ? " own" : ""}`, head, body);
  body.title = new Date(message.at).toLocaleString();
  if (message.deleted) {
    body.append(make("em", "", "Message deleted"));
    item.classList.add("gone");
    return item;
  }
  if (message.text) {
    const text = make("div", "text", message.rich ? rich(message.rich) : literal(message.text));
    text.dir = "auto";
    body.append(text);
  }
  body.append(...message.attachments.flatMap(attachmentElements));
  if (message.edited) body.append(make("small", "edited", "edited"));
  return item;
}

/**
 * @param {Message} message
 * @param {string} name
 */
function eventElement(message, name) {
  const text = message.event ? EVENTS[message.event] + message.text.replaceAll("\n", "; ") : "";
  return make("div", "event", `${text}${name ? ` by ${name}` : ""} · `, timeElement(message.at));
}

/**
 * @param {{ text: string, at: string }} note
 * @returns {Item}
 */
function noteItem({ text, at }) {
  const bubble = make("div", "bubble", make("div", "text", text.replace(/^\/\/\s*/, "")));
  bubble.dir = "auto";
  const element = make("div", "message", make("p", "by", make("strong", "", "Note, stays inside"), " ", timeElement(at)), bubble);
  element.dataset["kind"] = "note";
  return { seq: Infinity, kind: "note", name: "", at, text, element };
}

/** @param {string} at */
function timeElement(at) {
  const time = make("time", "", clock(at));
  time.dateTime = at;
  return time;
}

/**
 * A picture, or a card with the file's name, below a player where the browser plays it.
 *
 * @param {Attachment} attachment
 */
function attachmentElements({ name, type, size, url }) {
  const anchor = link(new URL(url, document.baseURI).href);
  anchor.classList.add("attachment");
  if (PICTURE.test(type)) {
    const picture = make("img");
    picture.alt = name;
    picture.src = url;
    anchor.append(picture);
    return [anchor];
  }
  anchor.append(icon("i-file"), make("span", "", name), make("small", "", measure(size)));
  const player = make("audio");
  if (!type.startsWith("audio/") || !player.canPlayType(type)) return [anchor];
  player.controls = true;
  player.preload = "none";
  player.ariaLabel = name;
  player.src = url;
  player.onerror = () => player.remove();
  return [player, anchor];
}

function dots() {
  const shown = make("span", "dots", make("i"), make("i"), make("i"));
  shown.setAttribute("aria-hidden", "true");
  return shown;
}
