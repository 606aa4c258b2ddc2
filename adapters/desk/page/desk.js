/**
 * The desk: a person's way in, the list beside the open conversation, and what the server tells.
 *
 * Names that tests and extensions of the page may rely on: `#token`, `#name` and the form `#enter` of the way in;
 * `[data-conversation=ID]` the entries of the list; `#thread [data-seq]` the messages, each with `data-kind` visitor,
 * staff or system, and notes with `data-kind` note; `#reply`, `#send`, `#close`.
 */

import { Alerts } from "./alerts.js";
import { Composer } from "./composer.js";
import { Connection, Failure } from "./connection.js";
import { byId } from "./dom.js";
import { showFacts } from "./facts.js";
import { List, paintAvatar, visitorName } from "./list.js";
import { Thread } from "./thread.js";

/** @typedef {import("./connection.js").Author} Author */
/** @typedef {import("./connection.js").Conversation} Conversation */
/** @typedef {import("./connection.js").Entry} Entry */

const TYPING_LASTS = 6000;
const MINUTE = 60_000;

class Desk {
  /** @type {Map<string, { text: string, at: string }[]>} notes written here, of each conversation */
  #notes = new Map();
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  #typing = new Map();
  /** @type {Map<string, number>} up to where the visitor of each conversation was told so */
  #toldSeen = new Map();
  /** @type {Promise<void>} */
  #reading = Promise.resolve();
  /** @type {string | null} */
  #next = null;
  #alerts = new Alerts();

  /**
   * @param {Connection} connection
   * @param {string} name
   */
  constructor(connection, name) {
    this.connection = connection;
    this.name = name;
    this.list = new List((id) => (location.hash = `conversation=${id}`), (unread) => this.#counted(unread));
    this.thread = new Thread((message) => this.#author(message.from));
    this.composer = new Composer({
      send: (conversation, id, text, files) => this.#send(conversation, id, text, files.map((file) => file.id)),
      upload: (file) => connection.upload(file),
      typing: (conversation, on) => void this.#act(conversation, "typing", { on }).catch(() => undefined),
    });
    byId("older", HTMLButtonElement).addEventListener("click", () => void this.#older());
    byId("close", HTMLButtonElement).addEventListener("click", () => void this.#close());
    byId("back", HTMLButtonElement).addEventListener("click", () => (location.hash = ""));
    byId("more", HTMLButtonElement).addEventListener("click", (event) => toggle(/** @type {Element} */ (event.currentTarget)));
    byId("sound", HTMLButtonElement).addEventListener("click", () => this.#toggleSound());
    addEventListener("hashchange", () => this.#chosen());
    for (const moment of ["focus", "visibilitychange"]) addEventListener(moment, () => this.#seen());
    setInterval(() => this.#head(), MINUTE);
    this.#showSound();
  }

  start() {
    void this.connection.listen({
      ready: () => void this.#resume().catch(() => undefined),
      changed: (conversation, entries) => this.#changed(conversation, entries),
      typing: (conversation, from, on) => this.#typed(conversation, from, on),
      online: (online) => this.#online(online),
      refused: (sentence) => leave(sentence),
    });
  }

  get #open() {
    return this.list.current ? this.list.get(this.list.current) : undefined;
  }

  // --- what the server tells ---------------------------------------------------------------------------------------

  async #resume() {
    const answer = await this.connection.call("conversations");
    this.#next = answer.next;
    byId("older", HTMLElement).hidden = !this.#next;
    this.list.put(answer.conversations);
    if (this.list.current) this.#read();
    else this.#chosen();
  }

  /**
   * @param {Conversation | null} conversation
   * @param {Entry[]} entries
   */
  #changed(conversation, entries) {
    if (!conversation) return void this.#resume().catch(() => undefined);
    const known = this.list.get(conversation.id)?.last?.seq ?? 0;
    this.list.put([conversation]);
    const written = entries.filter((entry) => entry.type === "message" && entry.seq > known);
    for (const entry of written) if (entry.type === "message") this.#typed(conversation.id, entry.from, false);
    const isHere = conversation.id === this.list.current;
    if (isHere) this.#grow(entries);
    const fromVisitor = written.some((entry) => entry.type === "message" && entry.from.kind === "visitor");
    if (fromVisitor && !(isHere && document.hasFocus())) this.#alerts.ring();
  }

  /** @param {Entry[]} entries of the open conversation */
  #grow(entries) {
    // An event may be lost or overtaken: what does not follow on what is held is read from the log.
    if (entries[0]?.seq === this.thread.seq + 1) this.thread.add(entries, false);
    else this.#read();
    this.#head();
    this.#seen();
  }

  /** Reads what the open conversation has beyond what is held; one reading at a time. */
  #read() {
    this.#reading = this.#reading.then(() => this.#catchUp()).catch((error) => {
      // Without an answer there is nothing to say here: the stream comes back, and then this is read again.
      if (!(error instanceof Failure) || error.status) this.#failed(error);
    });
  }

  async #catchUp() {
    const id = this.list.current;
    for (let more = true; more && id; ) {
      const answer = await this.connection.call(`conversations/${id}?after=${this.thread.seq}`);
      if (id !== this.list.current) return;
      this.list.put([answer.conversation]);
      this.thread.add(answer.entries, this.thread.seq === 0 || answer.more);
      this.#head();
      this.#seen();
      more = answer.more;
    }
  }

  /**
   * @param {string} conversation
   * @param {Author} from
   * @param {boolean} on
   */
  #typed(conversation, from, on) {
    const { name, own } = this.#author(from, conversation);
    if (own) return;
    clearTimeout(this.#typing.get(conversation));
    this.#typing.delete(conversation);
    if (on) this.#typing.set(conversation, setTimeout(() => this.#typed(conversation, from, false), TYPING_LASTS));
    if (from.kind === "visitor") this.list.setTyping(conversation, on);
    if (conversation === this.list.current) this.thread.showTyping(on ? name : "");
  }

  /** @param {boolean} online */
  #online(online) {
    byId("connection", HTMLElement).textContent = online ? "" : "No connection to the server. Trying again…";
  }

  // --- what the agent does -----------------------------------------------------------------------------------------

  #chosen() {
    const id = /^#conversation=(\d+)$/.exec(location.hash)?.[1] ?? null;
    document.body.dataset["view"] = id ? "thread" : "list";
    byId("nothing", HTMLElement).hidden = id !== null;
    byId("open", HTMLElement).hidden = id === null;
    const before = this.list.current;
    if (id === before) return;
    this.list.current = id;
    this.list.show();
    if (!id) return returnFocus(before);
    this.thread.clear(this.#notes.get(id) ?? []);
    this.composer.show(id, this.#open?.open ?? true);
    this.#head();
    this.#read();
    if (matchMedia("(pointer: fine)").matches) this.composer.focus();
    else byId("who", HTMLElement).focus();
  }

  /**
   * @param {string} conversation
   * @param {string} act
   * @param {object} body
   */
  #act(conversation, act, body) {
    return this.connection.call(`conversations/${conversation}/${act}`, { name: this.name, ...body });
  }

  /**
   * @param {string} conversation
   * @param {string} id
   * @param {string} text
   * @param {string[]} attachments
   */
  async #send(conversation, id, text, attachments) {
    const answer = await this.#act(conversation, "messages", { id, text, attachments });
    if (answer.note) {
      const note = { text, at: answer.at };
      this.#notes.set(conversation, [...(this.#notes.get(conversation) ?? []), note]);
      if (conversation === this.list.current) this.thread.addNote(note);
    }
    this.thread.toEnd();
    this.#read();
  }

  async #close() {
    try {
      await this.#act(this.list.current ?? "", "close", {});
      this.#read();
    } catch (error) {
      this.#failed(error);
    }
  }

  async #older() {
    try {
      const answer = await this.connection.call(`conversations?before=${encodeURIComponent(this.#next ?? "")}`);
      this.#next = answer.next;
      byId("older", HTMLElement).hidden = !this.#next;
      this.list.put(answer.conversations);
    } catch (error) {
      this.#failed(error);
    }
  }

  #toggleSound() {
    this.#alerts.toggle();
    this.#showSound();
  }

  // --- what is shown -----------------------------------------------------------------------------------------------

  #head() {
    const conversation = this.#open;
    if (!conversation) return;
    const { site, open, profile } = conversation;
    byId("who", HTMLElement).textContent = visitorName(conversation);
    byId("where", HTMLElement).textContent = `${site} · ${open ? "open" : "closed"}`;
    byId("head", HTMLElement).classList.toggle("closed", !open);
    byId("close", HTMLElement).hidden = !open;
    paintAvatar(byId("who-avatar", HTMLElement), conversation);
    showFacts(byId("facts", HTMLDListElement), profile);
    this.composer.show(conversation.id, open);
  }

  /** Notes that the open conversation has been read, if somebody looks. */
  #seen() {
    const last = this.#open?.last;
    if (this.list.current && last && document.visibilityState === "visible" && document.hasFocus()) {
      this.list.markRead(this.list.current, last.seq);
      this.#tellSeen(this.list.current, last);
    }
  }

  /**
   * Tells the visitor that somebody has seen what they wrote; of what was answered they know.
   *
   * @param {string} conversation
   * @param {import("./connection.js").Message} last
   */
  #tellSeen(conversation, { seq, from }) {
    if (from.kind !== "visitor" || seq <= (this.#toldSeen.get(conversation) ?? 0)) return;
    this.#toldSeen.set(conversation, seq);
    void this.#act(conversation, "seen", { seq }).catch(() => this.#toldSeen.delete(conversation));
  }

  /**
   * @param {Author} from
   * @param {string | null} conversation
   */
  #author(from, conversation = this.list.current) {
    const visitor = conversation ? this.list.get(conversation) : undefined;
    if (from.kind === "visitor") return { name: from.name ?? (visitor ? visitorName(visitor) : "Visitor"), own: false };
    const own = from.kind === "staff" && from.name?.toLowerCase() === this.name.toLowerCase();
    return { name: from.name ?? (from.kind === "staff" ? "Staff" : ""), own };
  }

  /** @param {number} unread */
  #counted(unread) {
    const count = byId("unread", HTMLElement);
    count.hidden = !unread;
    count.textContent = String(unread);
    count.setAttribute("aria-label", `${unread} unread`);
    this.#alerts.badge(unread);
  }

  #showSound() {
    const button = byId("sound", HTMLButtonElement);
    button.setAttribute("aria-pressed", String(this.#alerts.sound));
    button.title = this.#alerts.sound ? "Sound is on" : "Sound is off";
    button.querySelector("use")?.setAttribute("href", this.#alerts.sound ? "#i-sound" : "#i-mute");
  }

  /** @param {unknown} error */
  #failed(error) {
    if (error instanceof Failure && error.status === 401) leave(error.message);
    else if (error instanceof Failure && error.status === 404) location.hash = "";
    else if (error instanceof Failure) byId("trouble", HTMLElement).textContent = error.message;
    else reportError(error);
  }
}

/** @param {Element} button that shows and hides the visitor's facts on a small screen */
function toggle(button) {
  const expanded = button.getAttribute("aria-expanded") !== "true";
  button.setAttribute("aria-expanded", String(expanded));
}

/** @param {string | null} id of the conversation that was open */
function returnFocus(id) {
  const row = id && document.querySelector(`[data-conversation="${id}"]`);
  if (row instanceof HTMLElement) row.focus();
}

/** @param {string} sentence why, empty where the agent chose to */
function leave(sentence) {
  sessionStorage.removeItem("desk.token");
  sessionStorage.setItem("desk.farewell", sentence);
  location.hash = "";
  location.reload();
}

/** Takes the token out of the address, so that it does not stay in the history or on the screen. */
function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  sessionStorage.setItem("desk.token", token);
  history.replaceState(null, "", location.pathname + location.search);
}

/** @param {string} sentence */
function showGate(sentence) {
  const [token, name] = [byId("token", HTMLInputElement), byId("name", HTMLInputElement)];
  token.value = sessionStorage.getItem("desk.token") ?? "";
  name.value = localStorage.getItem("desk.name") ?? "";
  byId("token-field", HTMLElement).hidden = token.value !== "";
  byId("gate-error", HTMLElement).textContent = sentence;
  byId("gate", HTMLElement).hidden = false;
  byId("desk", HTMLElement).hidden = true;
  (token.value ? name : token).focus();
}

/** @param {SubmitEvent} event */
async function enter(event) {
  event.preventDefault();
  const error = byId("gate-error", HTMLElement);
  const token = byId("token", HTMLInputElement).value.trim();
  const name = byId("name", HTMLInputElement).value.trim().replace(/\s+/gu, " ");
  if (!token || !name) {
    error.textContent = token ? "Visitors like to know who answers: enter your name." : "Enter the token.";
    byId(token ? "name" : "token", HTMLInputElement).focus();
    return;
  }
  try {
    await new Connection(token).call("conversations");
  } catch (failure) {
    if (failure instanceof Failure && failure.status === 401) byId("token-field", HTMLElement).hidden = false;
    error.textContent = failure instanceof Error ? failure.message : String(failure);
    return;
  }
  sessionStorage.setItem("desk.token", token);
  localStorage.setItem("desk.name", name);
  location.reload();
}

/** Lets the page be as high as what a phone's keyboard leaves. */
function fitViewport() {
  const viewport = window.visualViewport;
  const fit = () => document.documentElement.style.setProperty("--height", `${viewport?.height ?? innerHeight}px`);
  viewport?.addEventListener("resize", fit);
  fit();
}

function begin() {
  takeToken();
  fitViewport();
  addEventListener("hashchange", () => location.hash.startsWith("#token=") && location.reload());
  byId("enter", HTMLFormElement).addEventListener("submit", (event) => void enter(event));
  byId("me", HTMLButtonElement).addEventListener("click", () => showGate(""));
  byId("leave", HTMLButtonElement).addEventListener("click", () => leave(""));
  const [token, name] = [sessionStorage.getItem("desk.token"), localStorage.getItem("desk.name")];
  const farewell = sessionStorage.getItem("desk.farewell") ?? "";
  sessionStorage.removeItem("desk.farewell");
  if (!token || !name) return showGate(farewell);
  byId("desk", HTMLElement).hidden = false;
  byId("me", HTMLButtonElement).textContent = name;
  new Desk(new Connection(token), name).start();
}

begin();
