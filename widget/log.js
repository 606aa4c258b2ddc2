/** The list of messages: one element for each, grouped by author and parted by days. */
import { PICTURE, card, element, link, literal, markdown, picture, sound } from "./nodes.js";
import { locale, say } from "./texts.js";

/** What happened to a conversation, as far as visitors are told. */
const EVENTS = ["closed", "reopened"];
/** Minutes of silence that end a group of messages. */
const PAUSE = 5;
/** How many messages are in the page at once, whatever has come; and how many of them change with each move. */
const SHOWN = 200;
const STEP = 25;
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
  const pictured = url && PICTURE.test(attachment.type);
  made.append(...(pictured ? [picture(url, attachment.name, ...named)] : named));
  made.className = pictured ? "file pictured" : "file";
  return [...(url ? sound(url, attachment) : []), made];
}

export class Log {
  #list;
  #origin;
  #retry;
  /** Made when the first message comes: a browser's first format takes it long. @type {Intl.DateTimeFormat | undefined} */
  #time;
  /** @type {Intl.DateTimeFormat | undefined} */
  #date;
  /** @type {Intl.RelativeTimeFormat | undefined} */
  #relative;
  /** @type {Chat.Item[]} */
  #items = [];
  #seen = 0;
  /** The last that is shown; none where that is the end. @type {Chat.Item | undefined} */
  #last;

  /** @param {HTMLElement} list @param {string} origin the gateway's @param {(item: Chat.Item) => void} retry */
  constructor(list, origin, retry) {
    this.#list = list;
    this.#origin = origin;
    this.#retry = retry;
  }

  /** The lowest number that has come, infinite while there is none. */
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
    this.#drop((item) => all || item.seq < Infinity);
    this.#seen = 0;
    this.#arrange();
  }

  /** Notes up to where staff have seen what the visitor wrote. */
  see(seq = 0) {
    this.#seen = Math.max(this.#seen, seq);
    for (const { seq, node } of this.#items) if (node.dataset.state === "sent") this.setState(seq, "sent");
  }

  /** Whether some that have come, older or newer than those shown, are not. */
  hides(older = false) {
    return older ? this.#range()[0] > 0 : !!this.#last;
  }

  /** Shows older or newer ones of those that have come; the scroller shows what it showed. @param {boolean} older @param {HTMLElement} scroller */
  move(older, scroller) {
    const [from, to] = this.#range();
    this.#keeping(older ? from : to - 1, scroller, () => this.show(this.#items[(older ? Math.max(to - STEP, SHOWN) : to + STEP) - 1]));
  }

  /** Adds older ones than all that have come; the scroller shows what it showed. @param {Chat.Message[]} messages @param {HTMLElement} scroller */
  prepend(messages, scroller) {
    this.#keeping(this.#range()[0], scroller, () => this.add(messages));
  }

  /** Changes what is shown, while one of the messages stays where it is seen. @param {number} at @param {HTMLElement} scroller @param {() => void} change */
  #keeping(at, scroller, change) {
    const { node } = this.#items[at];
    const was = node.getBoundingClientRect().top;
    change();
    scroller.scrollTop += node.getBoundingClientRect().top - was;
  }

  /** @param {Chat.Entry[]} entries */
  add(entries) {
    for (const entry of entries) {
      if ("of" in entry) this.#revise(entry.of, entry);
      else if (entry.from.kind !== "system" || EVENTS.includes(entry.event ?? "")) this.#put(entry);
    }
    this.#arrange();
  }

  /** Shows a message that waits to be sent. Returns whether it is a new one. @param {Chat.Unsent} unsent */
  addUnsent({ id, text, at, attachments }) {
    const added = !this.#find(id);
    if (added) this.#draw({ seq: Infinity, id, from: { kind: "visitor" }, text, at, attachments });
    this.#arrange();
    this.setState(id, "sending");
    return added;
  }

  /** Takes over what has failed: nobody else knows of it. @param {Log} former */
  adopt(former) {
    for (const { seq, id = "", text, attachments, at, node } of former.#items) {
      if (seq < Infinity || node.dataset.state !== "failed") continue;
      this.addUnsent({ id, text, attachments, at: at.toISOString() });
      this.setState(id, "failed");
    }
  }

  /** @param {Chat.Ack} ack */
  acknowledge(ack) {
    const item = this.#find(ack.id);
    if (item?.node.dataset.state !== "sending") return;
    this.#place(item, ack);
    this.setState(ack.id, "stored");
    this.#arrange();
  }

  /** Shows how far one of the visitor's messages has come. @param {number | string} which @param {"sending" | "stored" | "seen" | Chat.Delivery} state */
  setState(which, state) {
    const item = this.#find(which);
    const shown = item?.node.querySelector(".state");
    if (!item || !shown) return;
    if (state === "sent" && item.seq <= this.#seen) state = "seen";
    item.node.dataset.state = state === "waiting" ? "stored" : state;
    item.node.toggleAttribute("data-late", state === "waiting");
    if (shown.textContent === say(state)) return; // nobody wants it read out again
    shown.replaceChildren(say(state));
    if (state === "failed") {
      const again = element("button", { part: "retry", type: "button" }, say("again"));
      again.onclick = () => this.#retry(item);
      shown.append(" ", again);
    }
  }

  /** Takes away a message that failed. */
  discard(id = "") {
    this.#drop((item) => item.id === id);
    this.#arrange();
  }

  /** @param {number | string} which a seq or a client's id */
  #find(which) {
    return this.#items.findLast(({ seq, id }) => seq === which || id === which);
  }

  /** @param {(item: Chat.Item) => boolean} which */
  #drop(which) {
    for (const { node, day } of this.#items.filter(which)) {
      node.remove();
      day?.remove();
    }
    this.#items = this.#items.filter((item) => !which(item));
  }

  /** @param {Chat.Message} message */
  #put(message) {
    const { seq, id, from } = message;
    const known = this.#items.find((item) => item.seq === seq || (id && item.id === id));
    if (!known) this.#draw(message);
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

  /** Gives an item its number and time, which say its place. @param {Chat.Item} item @param {{seq: number, at: string}} to */
  #place(item, { seq, at }) {
    const { node } = Object.assign(item, { seq, at: new Date(at), midnight: midnight(new Date(at)) });
    if (seq < Infinity) node.dataset.seq = String(seq);
    const time = /** @type {HTMLTimeElement} */ (node.querySelector("time"));
    time.textContent = (this.#time ??= new Intl.DateTimeFormat(locale, { timeStyle: "short" })).format(item.at);
    time.dateTime = item.at.toISOString();
  }

  /** @param {Chat.Message} message */
  #draw({ seq, id, from: { kind, name, avatar: picture }, text, format, event, at, attachments = [] }) {
    const author = kind === "visitor" ? say("you") : (name ?? "");
    const address = (path = "") => path && new URL(path, this.#origin).href;
    const node = element(
      "div", { part: "message", "data-kind": kind },
      ...(kind === "staff" ? [avatar(author, address(picture ?? ""))] : []),
      element("div", { class: "name" }, author),
      element("div", { part: "text" }),
      ...(attachments.length ? [element("div", { class: "files" }, ...attachments.flatMap((one) => file({ ...one, url: address(one.url) })))] : []),
      element("div", { class: "meta" }, element("time"), element("span", { class: "note" }, say("edited")), element("span", { class: "state", role: "status" })),
    );
    write(node, event ? say(event) : text, format);
    const item = { seq, id, kind, author, text, attachments, at: new Date(at), midnight: 0, node };
    this.#items.push(item);
    this.#place(item, { seq, at });
  }

  /** Puts all in order. */
  #arrange() {
    this.#items.sort((one, other) => one.seq - other.seq || 0); // those without a number stay as they came
    // For the intro; WebKit does not see that :has() has come to match in a shared sheet.
    this.#list.parentElement?.toggleAttribute("data-begun", this.#items.length > 0);
    this.show(this.#last);
  }

  /** From where to where messages are shown: the browser's work stays the same however many have come. */
  #range() {
    const to = (this.#last ? this.#items.indexOf(this.#last) + 1 : 0) || this.#items.length;
    return [Math.max(0, to - SHOWN), to];
  }

  /** Shows messages up to one of them, or to the latest. @param {Chat.Item} [last] */
  show(last) {
    this.#last = last;
    const [from, to] = this.#range();
    if (to === this.#items.length) this.#last = undefined;
    const shown = this.#items.slice(from, to);
    this.#mark(shown, this.#items[from - 1]);
    const nodes = shown.flatMap(({ node, day }) => (day ? [day, node] : [node]));
    for (const one of [...this.#list.children]) if (!nodes.includes(/** @type {HTMLElement} */ (one))) one.remove();
    /** @type {HTMLElement | null} */
    let next = null;
    for (const one of nodes.reverse()) {
      // What is in its place stays there: a move would restart its animation and read it out again.
      if (!one.isConnected || one.nextSibling !== next) this.#list.insertBefore(one, next);
      next = one;
    }
  }

  /** Marks groups, days and the visitor's latest message, all of which depend on the neighbours. @param {Chat.Item[]} shown @param {Chat.Item} [previous] the one before them */
  #mark(shown, previous) {
    const latest = this.#items.findLast((item) => item.kind === "visitor");
    for (const item of shown) {
      const first = !previous || !together(previous, item);
      item.node.toggleAttribute("data-first", first);
      previous?.node.toggleAttribute("data-last", first);
      item.node.toggleAttribute("data-latest", item === latest);
      const stop = item === this.#items.at(-1) ? 0 : -1; // one stop for the Tab key; arrows go on from there
      if (item.node.tabIndex !== stop) item.node.tabIndex = stop;
      this.#separate(item, previous?.midnight !== item.midnight);
      previous = item;
    }
    previous?.node.toggleAttribute("data-last", true);
  }

  /** Gives an item the day before it, or takes it away. @param {Chat.Item} item @param {boolean} begins */
  #separate(item, begins) {
    if (!begins) {
      item.day?.remove();
      item.day = undefined;
      return;
    }
    const days = Math.round((item.midnight - midnight()) / 864e5);
    this.#date ??= new Intl.DateTimeFormat(locale, { dateStyle: "full" });
    this.#relative ??= new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
    const label = days === 0 || days === -1 ? this.#relative.format(days, "day") : this.#date.format(item.at);
    item.day ??= element("div", { class: "day" });
    if (item.day.textContent !== label) item.day.textContent = label;
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
  return samePerson && one.midnight === other.midnight && +other.at - +one.at < PAUSE * 6e4;
}
