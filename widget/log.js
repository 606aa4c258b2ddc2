/** The list of messages: one element for each, grouped by author and parted by days. */
import { PICTURE, card, element, link, literal, markdown, picture, sound } from "./nodes.js";
import { locale, say } from "./texts.js";

/** What happened to a conversation, as far as visitors are told. */
const EVENTS = ["closed", "reopened"];
/** Minutes of silence that end a group of messages. */
const PAUSE = 5;
/** How many messages are in the page at once, whatever has come; and how many of them come in one task of the browser's. */
const SHOWN = 100;
const STEP = 12;
/** A few emoji and nothing else. */
const EMOJI = /^[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f\u200d]{1,9}$/u;

const midnight = (date = new Date()) => new Date(date).setHours(0, 0, 0, 0);

/** A person's picture, or the first letter of the name. @param {string} name @param {string} [address] */
export function avatar(name, address) {
  const circle = element("bdi", { class: "avatar", "aria-hidden": "true" }, [...name.trim()][0]?.toUpperCase() ?? "");
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
  #scroller;
  #origin;
  #retry;
  #around;
  /** Made when the first message comes: a browser's first format takes it long. @type {Intl.DateTimeFormat | undefined} */
  #time;
  /** @type {Intl.DateTimeFormat | undefined} */
  #date;
  /** @type {Intl.RelativeTimeFormat | undefined} */
  #relative;
  /** In order. @type {Chat.Item[]} */
  #items = [];
  /** The same by their numbers and the client's ids. @type {Map<number | string | undefined, Chat.Item>} */
  #known = new Map();
  /** Those in the page. @type {Chat.Item[]} */
  #shown = [];
  /** The last of them; none where that is the latest. @type {Chat.Item | undefined} */
  #last;
  #filling = 0;
  #seen = 0;
  /** By how much of a pixel the scroller has yet to move: browsers would round it away. */
  #rest = 0;

  /** @param {Record<"log" | "scroller", HTMLElement>} parts @param {string} origin the gateway's @param {(item: Chat.Item) => void} retry @param {(change: () => void) => void} around makes a change of what is in the page */
  constructor({ log, scroller }, origin, retry, around) {
    this.#list = log;
    this.#scroller = scroller;
    this.#origin = origin;
    this.#retry = retry;
    this.#around = around;
  }

  /** The lowest number that has come, infinite while there is none. */
  get oldest() {
    return this.#items[0]?.seq ?? Infinity;
  }

  /** How many of the staff's messages lie after a number, and the highest of theirs. @param {number} seq */
  newsAfter(seq) {
    const news = this.#items.filter((item) => item.from.kind === "staff" && item.seq > seq);
    return { count: news.length, last: news.at(-1)?.seq };
  }

  /** Drops what the gateway has; what waits to be sent too, where it is another's. @param {boolean} [all] */
  clear(all) {
    this.#seen = 0;
    this.#drop((item) => all || item.seq < Infinity);
  }

  /** Notes up to where staff have seen what the visitor wrote. @param {number} seq */
  see(seq) {
    this.#seen = Math.max(this.#seen, seq);
    for (const { seq, state } of this.#items) if (state === "sent") this.setState(seq, state);
  }

  /** Whether some that have come, older or newer than those shown, are not. @param {boolean} [older] */
  hides(older) {
    return older ? this.#items[0] !== this.#shown[0] : !!this.#last;
  }

  /** Shows older or newer ones of those that have come. @param {boolean} older */
  move(older) {
    if (older && this.#shown.length < SHOWN) return this.show(this.#last);
    const to = this.#items.indexOf(/** @type {Chat.Item} */ (this.#shown.at(-1))) + 1;
    this.show(this.#items[(older ? Math.max(to - STEP, SHOWN) : to + STEP) - 1]);
  }

  /** @param {Chat.Entry[]} entries @param {boolean} [quiet] whether they are no news */
  add(entries, quiet) {
    for (const entry of entries) {
      if ("of" in entry) this.#revise(entry.of, entry);
      else if (entry.from.kind !== "system" || EVENTS.includes(entry.event ?? "")) this.#put(entry);
    }
    this.#arrange(quiet);
  }

  /** Shows a message that waits to be sent, or could not be. Returns whether it is a new one. @param {Chat.Unsent} unsent @param {Chat.State} [state] */
  addUnsent(unsent, state = "sending") {
    const added = !this.#known.has(unsent.id);
    this.#put({ ...unsent, seq: Infinity, from: { kind: "visitor" } });
    this.#arrange();
    this.setState(unsent.id, state); // of a message that is in the page it is read out
    return added;
  }

  /** Takes over what has failed: nobody else knows of it. @param {Log} former */
  adopt(former) {
    for (const item of former.#items) {
      // Drawn anew: in this one's language
      if (item.seq === Infinity && item.state === "failed") this.addUnsent(/** @type {Chat.Unsent} */ ({ ...item, node: undefined }), item.state);
    }
  }

  /** @param {Chat.Ack} ack */
  acknowledge(ack) {
    const item = this.#known.get(ack.id);
    if (item?.state !== "sending") return;
    this.#place(item, ack);
    this.setState(ack.id, "stored");
    this.#arrange();
  }

  /** Shows how far one of the visitor's messages has come. @param {number | string | undefined} which @param {Chat.State} state */
  setState(which, state) {
    const item = this.#known.get(which);
    if (!item) return;
    item.state = state === "sent" && item.seq <= this.#seen ? "seen" : state;
    this.#tell(item);
  }

  /** Takes away a message that failed. @param {string} id */
  discard(id) {
    this.#drop((item) => item.id === id);
  }

  /** @param {(item: Chat.Item) => boolean} which */
  #drop(which) {
    for (const { seq, id } of this.#items.filter(which)) for (const key of [seq, id]) this.#known.delete(key);
    this.#items = this.#items.filter((item) => !which(item));
    this.#arrange();
  }

  /** @param {Chat.Message} message */
  #put(message) {
    const { seq, id = seq, from, delivery = "stored", edited, deleted } = message;
    const item = this.#known.get(id) ?? { ...message, seq: Infinity, midnight: 0 };
    if (!this.#known.has(id)) this.#items.push(item);
    this.#known.set(id, item);
    if (item.seq === Infinity) this.#place(item, message);
    if (from.kind === "visitor" && seq < Infinity) this.setState(id, delivery);
    if (edited || deleted) this.#revise(seq, message);
  }

  /** @param {number} seq @param {{text?: string, format?: string, deleted?: boolean}} revision */
  #revise(seq, { text = "", format, deleted = false }) {
    const item = this.#known.get(seq);
    if (item) write(Object.assign(item, { text, format, deleted, edited: !deleted }));
  }

  /** Gives an item its number and time, which say its place. @param {Chat.Item} item @param {{seq: number, at: string}} to */
  #place(item, { seq, at }) {
    this.#known.delete(item.seq);
    Object.assign(item, { seq, at, midnight: midnight(new Date(at)) });
    this.#known.set(seq, item);
    this.#stamp(item);
  }

  /** @param {Chat.Item} item */
  #stamp({ node, seq, at }) {
    const time = node?.querySelector("time");
    if (!node || !time) return;
    if (seq < Infinity) node.dataset.seq = String(seq);
    time.textContent = (this.#time ??= new Intl.DateTimeFormat(locale, { timeStyle: "short" })).format(new Date(at));
    time.dateTime = at;
  }

  /** @param {Chat.Item} item */
  #tell(item) {
    const { node, state } = item;
    const shown = node?.querySelector(".state");
    if (!node || !shown || !state) return;
    node.dataset.state = state === "waiting" ? "stored" : state;
    node.toggleAttribute("data-late", state === "waiting");
    if (shown.textContent === say(state)) return; // nobody wants it read out again
    shown.replaceChildren(say(state));
    if (state !== "failed") return;
    const again = element("button", { part: "retry", type: "button" }, say("again"));
    again.onclick = () => this.#retry(item);
    shown.append(" ", again);
  }

  /** @param {Chat.Item} item */
  #draw(item) {
    const { from: { kind, name, avatar: face }, attachments = [] } = item;
    const author = kind === "visitor" ? say("you") : (name ?? "");
    const address = (path = "") => path && new URL(path, this.#origin).href;
    item.node = element(
      "div", { part: "message", "data-kind": kind },
      ...(kind === "staff" ? [avatar(author, address(face ?? ""))] : []),
      element("div", { class: "name" }, author),
      element("div", { part: "text" }),
      ...(attachments.length ? [element("div", { class: "files" }, ...attachments.flatMap((one) => file({ ...one, url: address(one.url) })))] : []),
      element("div", { class: "meta" }, element("time"), element("span", { class: "note" }, say("edited")), element("span", { class: "state", role: "status" })),
    );
    write(item);
    this.#stamp(item);
    this.#tell(item);
    return item.node;
  }

  /** Puts all in order. @param {boolean} [quiet] */
  #arrange(quiet) {
    this.#items.sort((one, other) => one.seq - other.seq || 0); // those without a number stay as they came
    // For the intro; WebKit does not see that :has() has come to match in a shared sheet.
    this.#scroller.toggleAttribute("data-begun", this.#items.length > 0);
    // Of an empty history nothing is to be waited for: the first message would come with it, and unheard
    if (this.#filling || (quiet && this.#items[0])) {
      // Where no more are shown than now, `move` goes on: until then the day stands above the first of them
      if (this.#shown.length < SHOWN) this.#fill();
    } else this.show(this.#last, false);
  }

  /** Shows more, apart from what is being done now: neither keeps the page waiting. */
  #fill() {
    this.#filling ||= setTimeout(() => this.show(this.#last));
  }

  /**
   * Shows messages up to one of them, or to the latest, a few at a time, while what is seen stays where it is. What follows
   * those in the page comes in its order and is heard; what lies before them is not: nobody wants a history read out.
   * @param {Chat.Item} [last]
   */
  show(last, quiet = true) {
    clearTimeout(this.#filling);
    this.#filling = 0;
    const all = this.#items;
    const end = all.indexOf(/** @type {Chat.Item} */ (last)) + 1 || all.length;
    const shown = new Set(this.#shown);
    let fresh = STEP;
    const comes = (/** @type {Chat.Item} */ item) => shown.has(item) || (fresh-- > 0 && shown.add(item));
    const begun = last || this.#last ? -1 : all.indexOf(this.#shown[0]);
    let from = begun < 0 ? end : begun;
    let to = from;
    while (to < end && comes(all[to])) to++;
    if (fresh < STEP) {
      fresh = 0; // for those before, which are not heard
      quiet = false;
    }
    const least = Math.max(0, to - SHOWN);
    while (from > least && comes(all[from - 1])) from--;
    from = Math.max(from, least);
    this.#last = all[end] && all[end - 1];
    this.#shown = all.slice(from, end).filter((item) => shown.has(item)); // what waits to be sent stays at the end
    this.#around(() => this.#keep(quiet, all[from - 1]));
    if (from > least || to < end) this.#fill();
  }

  /** Draws what is shown without moving what is seen. @param {boolean} quiet @param {Chat.Item} [previous] the one before */
  #keep(quiet, previous) {
    const node = this.#shown.find(({ node }) => node?.isConnected)?.node;
    const bottom = () => node?.getBoundingClientRect().bottom ?? 0;
    const was = bottom();
    const nodes = this.#mark(previous);
    const [past, live] = this.#list.children;
    // Up to the last that is not to be heard: what has been heard may come to lie before it
    lay(past, nodes.splice(0, nodes.findLastIndex(({ parentNode }) => (quiet ? parentNode !== live : parentNode === past)) + 1));
    lay(live, nodes, true);
    const moved = Math.round((this.#rest += bottom() - was));
    this.#rest -= moved;
    if (moved) this.#scroller.scrollTop += moved;
  }

  /** Marks groups, days and the visitor's latest message, all of which depend on the neighbours. @param {Chat.Item} [previous] the one before those shown */
  #mark(previous) {
    const nodes = [];
    const latest = this.#items.findLast(({ from }) => from.kind === "visitor");
    for (const item of this.#shown) {
      const node = item.node ?? this.#draw(item);
      const first = !previous || !together(previous, item);
      node.toggleAttribute("data-first", first);
      previous?.node?.toggleAttribute("data-last", first);
      node.toggleAttribute("data-latest", item === latest);
      const stop = item === this.#shown.at(-1) ? 0 : -1; // one stop for the Tab key; arrows go on from there
      if (node.tabIndex !== stop) node.tabIndex = stop;
      if (previous?.midnight !== item.midnight) nodes.push(this.#day(item));
      nodes.push(node);
      previous = item;
    }
    previous?.node?.toggleAttribute("data-last", true);
    return nodes;
  }

  /** What stands before the first message of a day. @param {Chat.Item} item */
  #day(item) {
    const days = Math.round((item.midnight - midnight()) / 864e5);
    this.#date ??= new Intl.DateTimeFormat(locale, { dateStyle: "full" });
    this.#relative ??= new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
    const label = days > -2 && days < 1 ? this.#relative.format(days, "day") : this.#date.format(item.midnight);
    item.day ??= element("div", { class: "day" });
    if (item.day.textContent !== label) item.day.textContent = label;
    return item.day;
  }
}

/** Puts nodes into a list, in the place of what was there: in their order, in which they are read out. @param {Element} list @param {Element[]} nodes */
function lay(list, nodes, fresh = false) {
  for (const one of [...list.children]) if (!nodes.includes(one)) one.remove();
  let place = list.firstChild;
  for (const one of nodes) {
    // What is in its place stays there: a move would restart its animation and read it out again.
    if (one === place) place = place.nextSibling;
    else {
      one.toggleAttribute("data-fresh", fresh);
      list.insertBefore(one, place);
    }
  }
}

/** Writes an item's text, if it has been drawn. @param {Chat.Item} item */
function write({ node, text, format, event, edited = false, deleted = false }) {
  const bubble = /** @type {HTMLElement | null} */ (node?.querySelector(".text"));
  if (!node || !bubble) return;
  const said = deleted ? say("deleted") : event ? say(event) : text;
  node.toggleAttribute("data-deleted", deleted);
  node.toggleAttribute("data-edited", edited);
  if (deleted) node.querySelector(".files")?.remove();
  // Within the bubble, whose shape follows the panel's direction
  bubble.replaceChildren(element("div", { dir: "auto" }, ...(format === "markdown" ? markdown(said.split("\n")) : literal(said))));
  bubble.hidden = !said;
  bubble.classList.toggle("emoji", EMOJI.test(said.trim()));
}

/** @param {Chat.Item} one @param {Chat.Item} other the next */
function together(one, other) {
  const samePerson = one.from.kind === other.from.kind && one.from.name === other.from.name && one.from.kind !== "system";
  return samePerson && one.midnight === other.midnight && Date.parse(other.at) - Date.parse(one.at) < PAUSE * 6e4;
}
