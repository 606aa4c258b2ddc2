/** The list of conversations, the latest first, and what of them this browser has read. */

import { arrange, byId, make } from "./dom.js";

/** @typedef {import("./connection.js").Conversation} Conversation */

const REMEMBERED = 500;
const HUES = 8;
const EVENTS = { opened: "Conversation opened", closed: "Conversation closed", reopened: "Conversation reopened", tracked: "" };

/**
 * Names somebody unknown as threads on the other platforms are named.
 *
 * @param {string} id
 */
function shortly(id) {
  return (BigInt(id) & 0xffffn).toString(16).toUpperCase().padStart(4, "0");
}

/** @param {Conversation} conversation */
export function visitorName({ id, profile }) {
  return profile.name || profile.email || profile.identity || `Visitor ${shortly(id)}`;
}

/**
 * @param {HTMLElement} avatar
 * @param {Conversation} conversation
 */
export function paintAvatar(avatar, conversation) {
  const { id, visitor, profile } = conversation;
  const words = (profile.name || profile.email || "").split(/[\s@]+/u).filter(Boolean);
  const initials = words.slice(0, 2).map((word) => (Array.from(word)[0] ?? "").toLocaleUpperCase());
  avatar.textContent = initials.join("") || shortly(id).slice(-2);
  avatar.dataset["hue"] = String(Number(visitor.slice(-6)) % HUES);
}

/** @param {string} at */
function briefly(at) {
  const then = new Date(at);
  const now = new Date();
  if (then.toDateString() === now.toDateString()) return then.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const sameYear = then.getFullYear() === now.getFullYear();
  return then.toLocaleDateString([], { day: "numeric", month: "short", ...(sameYear ? {} : { year: "numeric" }) });
}

/** Remembers, over tabs and reloads, the last message read of each conversation. */
class Reading {
  /** @returns {Record<string, number>} */
  #load() {
    try {
      return JSON.parse(localStorage.getItem("desk.read") ?? "{}");
    } catch {
      return {};
    }
  }

  /** @param {Conversation} conversation */
  unread({ id, last }) {
    return last?.from.kind === "visitor" && last.seq > (this.#load()[id] ?? 0);
  }

  /**
   * @param {string} id
   * @param {number} seq
   */
  mark(id, seq) {
    const { [id]: before = 0, ...others } = this.#load();
    const kept = [...Object.entries(others).slice(1 - REMEMBERED), [id, Math.max(before, seq)]];
    localStorage.setItem("desk.read", JSON.stringify(Object.fromEntries(kept)));
  }
}

export class List {
  /** @type {Map<string, { conversation: Conversation, row: ReturnType<typeof makeRow> }>} */
  #rows = new Map();
  #reading = new Reading();
  #element = byId("list", HTMLUListElement);
  /** @type {Set<string>} where the visitor types */
  #typing = new Set();
  /** @type {string | null} */
  current = null;

  /**
   * @param {(id: string) => void} choose
   * @param {(unread: number) => void} counted
   */
  constructor(choose, counted) {
    this.counted = counted;
    this.#element.addEventListener("click", (event) => {
      const row = event.target instanceof Element ? event.target.closest("[data-conversation]") : null;
      if (row instanceof HTMLElement) choose(row.dataset["conversation"] ?? "");
    });
  }

  /** @param {string} id */
  get(id) {
    return this.#rows.get(id)?.conversation;
  }

  /** @param {Conversation[]} conversations */
  put(conversations) {
    for (const conversation of conversations) {
      const held = this.#rows.get(conversation.id);
      // An answer that was asked for earlier may come later than the event that overtook it.
      if (held && held.conversation.active_at > conversation.active_at) continue;
      this.#rows.set(conversation.id, { conversation, row: held?.row ?? makeRow(conversation.id) });
    }
    this.show();
  }

  /**
   * @param {string} id
   * @param {number} seq
   */
  markRead(id, seq) {
    this.#reading.mark(id, seq);
    this.show();
  }

  /**
   * @param {string} id
   * @param {boolean} on
   */
  setTyping(id, on) {
    if (on) this.#typing.add(id);
    else this.#typing.delete(id);
    this.show();
  }

  show() {
    const rows = [...this.#rows.values()].sort((a, b) => (a.conversation.active_at < b.conversation.active_at ? 1 : -1));
    let unread = 0;
    for (const { conversation, row } of rows) {
      const isUnread = this.#reading.unread(conversation);
      if (isUnread) unread++;
      this.#paint(row, conversation, isUnread);
    }
    arrange(this.#element, rows.map(({ row }) => row.item));
    byId("list-empty", HTMLElement).hidden = rows.length > 0;
    this.counted(unread);
  }

  /**
   * @param {ReturnType<typeof makeRow>} row
   * @param {Conversation} conversation
   * @param {boolean} unread
   */
  #paint(row, conversation, unread) {
    const { id, last, site, open, active_at } = conversation;
    row.name.textContent = visitorName(conversation);
    row.site.textContent = site;
    row.time.textContent = briefly(active_at);
    row.time.dateTime = active_at;
    row.preview.textContent = this.#typing.has(id) ? "typing…" : preview(last);
    row.button.classList.toggle("typing", this.#typing.has(id));
    row.button.classList.toggle("unread", unread);
    row.button.classList.toggle("closed", !open);
    row.state.textContent = unread ? "Unread" : open ? "" : "Closed";
    if (id === this.current) row.button.setAttribute("aria-current", "true");
    else row.button.removeAttribute("aria-current");
    paintAvatar(row.avatar, conversation);
  }
}

/** @param {string} id */
function makeRow(id) {
  const [avatar, name, site, state] = [make("span", "avatar"), make("strong", "name"), make("span", "site"), make("span", "state")];
  const [time, preview] = [make("time"), make("span", "preview")];
  avatar.setAttribute("aria-hidden", "true");
  name.dir = preview.dir = "auto";
  const button = make("button", "row", avatar, name, time, preview, make("span", "tags", site, state));
  button.type = "button";
  button.dataset["conversation"] = id;
  return { item: make("li", "", button), button, avatar, name, site, state, time, preview };
}

/** @param {Conversation["last"]} last */
function preview(last) {
  if (!last) return "";
  if (last.deleted) return "Message deleted";
  if (last.event) return EVENTS[last.event];
  const text = (last.rich?.text ?? last.text) || last.attachments.map(({ name }) => name).join(", ");
  return last.from.kind === "staff" ? `${last.from.name ?? "Staff"}: ${text}` : text;
}
