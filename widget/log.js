/** The list of messages: one element for each, grouped by author and parted by days. */
import { PICTURE, card, element, link, literal, markdown, picture } from "./nodes.js";
import { locale, say } from "./texts.js";

/** What happened to a conversation, as far as visitors are told. */
const EVENTS = ["closed", "reopened"];
/** Minutes of silence that end a group of messages. */
const PAUSE = 5;
/** A few emoji and nothing else. */
const EMOJI = /^[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f\u200d]{1,9}$/u;

const midnight = (date = new Date()) => new Date(date).setHours(0, 0, 0, 0);

/** A person's picture, or the first letter of the name. */
export function avatar(name = "", address = "") {
  const circle = element("span", { class: "avatar", "aria-hidden": "true" }, [...name.trim()][0]?.toUpperCase() ?? "");
  if (!address) return circle;
  const picture = element("img", { src: address, alt: "" });
  picture.onload = () => circle.replaceChildren(picture);
  return circle;
}

/** @param {Chat.Attachment} attachment */
function file(attachment) {
  const { url } = attachment;
  const made = url ? link(url) : element("span");
  const named = card(attachment);
  made.append(...(url && PICTURE.test(attachment.type) ? [picture(url, attachment.name, ...named)] : named));
  made.className = "file";
  return made;
}

export class Log {
  #list;
  #origin;
  #retry;
  #time = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
  #date = new Intl.DateTimeFormat(locale, { weekday: "long", day: "numeric", month: "long" });
  #relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  /** @type {Chat.Item[]} */
  #items = [];

  /** @param {HTMLElement} list @param {string} origin the gateway's @param {(item: Chat.Item) => void} retry */
  constructor(list, origin, retry) {
    this.#list = list;
    this.#origin = origin;
    this.#retry = retry;
  }

  /** The lowest number shown, infinite while there is none. */
  get oldest() {
    return this.#items[0]?.seq ?? Infinity;
  }

  /** How many of the staff's messages lie after a number, and the highest of theirs. */
  newsAfter(seq = 0) {
    const news = this.#items.filter((item) => item.kind === "staff" && item.seq > seq);
    return { count: news.length, last: news.at(-1)?.seq };
  }

  /** Drops what the gateway has; what waits to be sent too, where it is another's. */
  clear(all = false) {
    for (const item of this.#items) if (all || item.seq < Infinity) this.#remove(item);
  }

  /** @param {Chat.Entry[]} entries */
  add(entries) {
    for (const entry of entries) {
      if ("of" in entry) this.#revise(entry.of, entry);
      else if (entry.from.kind !== "system" || EVENTS.includes(entry.event ?? "")) this.#put(entry);
    }
    this.#arrange();
  }

  /** Shows a message that waits to be sent. @param {Chat.Unsent} unsent */
  addUnsent({ id, text, at, attachments }) {
    this.#insert(this.#draw({ seq: Infinity, id, from: { kind: "visitor" }, text, at, attachments }));
    this.setState(id, "sending");
    this.#arrange();
  }

  /** @param {Chat.Ack} ack */
  acknowledge(ack) {
    const item = this.#find(ack.id);
    if (item?.seq !== Infinity) return;
    this.#place(item, ack);
    this.setState(ack.id, "stored");
    this.#arrange();
  }

  /** Shows how far one of the visitor's messages has come. @param {number | string} which @param {"sending" | "stored" | Chat.Delivery} state */
  setState(which, state) {
    const item = this.#find(which);
    const shown = item?.node.querySelector(".state");
    if (!item || !shown) return;
    item.node.dataset.state = state === "waiting" ? "stored" : state;
    item.node.toggleAttribute("data-late", state === "waiting");
    shown.replaceChildren(say(state));
    if (state === "failed") {
      const again = element("button", { part: "retry", type: "button" }, say("again"));
      again.onclick = () => this.#retry(item);
      shown.append(" ", again);
    }
  }

  /** Takes away a message that failed. */
  discard(id = "") {
    const item = this.#find(id);
    if (item) this.#remove(item);
    this.#arrange();
  }

  /** @param {number | string} which a seq or a client's id */
  #find(which) {
    return this.#items.find(({ seq, id }) => seq === which || id === which);
  }

  /** @param {Chat.Item} item */
  #remove(item) {
    item.node.remove();
    item.day?.remove();
    this.#items = this.#items.filter((one) => one !== item);
  }

  /** @param {Chat.Message} message */
  #put(message) {
    const { seq, id, from } = message;
    const known = this.#find(seq) ?? this.#find(id ?? seq);
    if (!known) this.#insert(this.#draw(message));
    else if (known.seq === Infinity) this.#place(known, message);
    if (from.kind === "visitor") this.setState(seq, message.delivery ?? "stored");
    if (message.deleted || message.edited) this.#revise(seq, message);
  }

  /** @param {number} seq @param {{text?: string, format?: string, deleted?: boolean}} revision */
  #revise(seq, { text = "", format, deleted = false }) {
    const node = this.#find(seq)?.node;
    if (!node) return;
    node.toggleAttribute("data-deleted", deleted);
    node.toggleAttribute("data-edited", !deleted);
    if (deleted) node.querySelector(".files")?.remove();
    write(node, deleted ? say("deleted") : text, format);
  }

  /** Gives an item its number, time and place. @param {Chat.Item} item @param {{seq: number, at: string}} to */
  #place(item, { seq, at }) {
    this.#items = this.#items.filter((one) => one !== item);
    this.#insert(Object.assign(item, { seq, at: new Date(at) }));
  }

  /** @param {Chat.Item} item */
  #insert(item) {
    const { node, seq } = item;
    const at = this.#items.findLastIndex((one) => one.seq <= seq) + 1;
    const next = this.#items[at]?.node ?? null;
    // What is in its place stays there: a move would restart its animation and read it out again.
    if (!node.isConnected || node.nextElementSibling !== next) this.#list.insertBefore(node, next);
    this.#items.splice(at, 0, item);
    if (seq < Infinity) node.dataset.seq = String(seq);
    const time = /** @type {HTMLTimeElement} */ (node.querySelector("time"));
    time.textContent = this.#time.format(item.at);
    time.dateTime = item.at.toISOString();
  }

  /** @param {Chat.Message} message @returns {Chat.Item} */
  #draw({ seq, id, from: { kind, name, avatar: picture }, text, format, event, at, attachments = [] }) {
    const author = kind === "visitor" ? say("you") : (name ?? "");
    const address = (path = "") => path && new URL(path, this.#origin).href;
    const node = element(
      "div", { part: "message", "data-kind": kind },
      ...(kind === "staff" ? [avatar(author, address(picture ?? ""))] : []),
      element("div", { class: "name" }, author),
      element("div", { part: "text" }),
      ...(attachments.length ? [element("div", { class: "files" }, ...attachments.map((one) => file({ ...one, url: address(one.url) })))] : []),
      element("div", { class: "meta" }, element("time"), element("span", { class: "note" }, say("edited")), element("span", { class: "state" })),
    );
    write(node, event ? say(event) : text, format);
    return { seq, id, kind, author, text, attachments, at: new Date(at), node };
  }

  /** Marks groups, days and the visitor's latest message, all of which depend on the neighbours. */
  #arrange() {
    const latest = this.#items.findLast((item) => item.kind === "visitor");
    /** @type {Chat.Item | undefined} */
    let previous;
    for (const item of this.#items) {
      const first = !previous || !together(previous, item);
      item.node.toggleAttribute("data-first", first);
      previous?.node.toggleAttribute("data-last", first);
      item.node.toggleAttribute("data-latest", item === latest);
      this.#separate(item, !previous || midnight(previous.at) !== midnight(item.at));
      previous = item;
    }
    previous?.node.toggleAttribute("data-last", true);
  }

  /** Sets or takes away the day before an item. @param {Chat.Item} item @param {boolean} begins */
  #separate(item, begins) {
    if (!begins) {
      item.day?.remove();
      item.day = undefined;
      return;
    }
    const days = Math.round((midnight(item.at) - midnight()) / 864e5);
    const label = days === 0 || days === -1 ? this.#relative.format(days, "day") : this.#date.format(item.at);
    item.day ??= element("div", { class: "day" });
    if (item.day.textContent !== label) item.day.textContent = label;
    if (item.day.nextSibling !== item.node) item.node.before(item.day);
  }
}

/** @param {HTMLElement} node a message's */
function write(node, text = "", format = "plain") {
  const bubble = /** @type {HTMLElement} */ (node.querySelector(".text"));
  // Within the bubble, whose shape follows the panel's direction
  bubble.replaceChildren(element("div", { dir: "auto" }, ...(format === "markdown" ? markdown(text.split("\n")) : literal(text))));
  bubble.hidden = !text;
  bubble.classList.toggle("emoji", EMOJI.test(text.trim()));
}

/** @param {Chat.Item} one @param {Chat.Item} other the next */
function together(one, other) {
  const samePerson = one.kind === other.kind && one.author === other.author && one.kind !== "system";
  return samePerson && midnight(one.at) === midnight(other.at) && +other.at - +one.at < PAUSE * 6e4;
}
