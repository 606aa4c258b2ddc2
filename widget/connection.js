/**
 * The exchange with the gateway: one socket, resumed by `seq`, and the queue of messages not yet acknowledged.
 * Where sockets fail and plain HTTP works, `fallback.js` stands in for the socket until one works again.
 */

import { Memory } from "./memory.js";

const RETRIED = ["rate_limited", "store_full", "unavailable"];
const FINAL = ["unknown_site", "origin_not_allowed", "blocked"];
/** Seconds after which a gateway that does not answer is taken for dead; and for a welcome, more with each attempt. */
const PATIENCE = 15;
const FIRST_PATIENCE = 5;
/** Seconds without a frame after which a socket is taken for dead: the gateway sends one every 25. */
const SILENCE = 40;
/** Sockets that fail in a row before plain HTTP is tried. */
const FAILURES = 2;
/** Seconds after which a connection has proved itself. */
const PROVED = 5;
/** Seconds to wait after a refusal that names none. */
const RETRY = 3;
/** Seconds out of sight after which the socket may have died in a sleeping machine. */
const NAP = 60;
/** @type {Chat.Session} */
const STRANGER = { token: null, visitor: null, log: null, after: 0 };

export class Connection {
  #host;
  #memory;
  #listener;
  /** @type {WebSocket | import("./fallback.js").Fallback | undefined} */
  #socket;
  /** Tells one connection's time from the next. */
  #turn = 0;
  /** How many sockets have failed in a row. */
  #failures = 0;
  /** Whether there is, or was before a break, a connection. */
  started = false;
  #stopped = false;
  /** When the gateway let us in, 0 while it has not. */
  #welcomed = 0;
  #attempt = 0;
  #hiddenAt = 0;
  #reopening = 0;
  #deadline = 0;
  #pause = 0;
  #session = STRANGER;
  /** @type {Threadbridge.Identity | null} */
  #identity = null;
  /** The page's address that staff know of. */
  #told = "";
  /** The token that the last hello showed. */
  #shown = STRANGER.token;
  /** @type {Chat.Unsent[]} */
  #queue = [];
  /** @type {string | undefined} */
  #unanswered;
  /** @type {boolean | undefined} */
  #quiet;

  /** @param {Chat.Host} host @param {Chat.Listener} listener @param {AbortSignal} signal ends what is asked of the page */
  constructor(host, listener, signal) {
    this.#host = host;
    this.#identity = host.identity ?? null;
    this.#listener = listener;
    this.#memory = new Memory(host.storageKey);
    this.#session = { ...STRANGER, token: this.#memory.read().token };
    this.#watchPage(signal);
  }

  /** Whether an earlier page began a conversation. */
  get resumable() {
    const { token, queue } = this.#memory.read();
    return token !== null || queue.length > 0;
  }

  /** Whether the visitor wants no sound; kept once there is a conversation. */
  get quiet() {
    return this.#quiet ?? this.#memory.read().quiet;
  }

  set quiet(quiet) {
    if (this.resumable) this.#memory.write({ quiet });
    else this.#quiet = quiet;
  }

  /** Connects, unless that was done before. */
  start() {
    if (this.started) return;
    this.started = true;
    if (this.#memory.read().blocked) this.#failures = FAILURES;
    this.#collectQueue();
    this.#open();
  }

  /** The token to upload with, kept from now on; none while there is no connection. */
  ticket() {
    return this.#welcomed && this.#keepToken() ? this.#session.token : null;
  }

  /**
   * Queues a message. It is kept before it is first sent. `randomUUID` exists only in secure contexts.
   * @param {string} text @param {Chat.Attachment[]} attachments
   */
  send(text, attachments, id = crypto.getRandomValues(new Uint32Array(4)).join("-")) {
    const unsent = { id, text, attachments, at: new Date().toISOString() };
    this.#memory.write({ queue: [...this.#memory.read().queue, unsent] });
    this.#collectQueue();
    this.start();
    if (this.#stopped) this.#stop();
    else if (this.#welcomed && this.#keepToken()) this.#sendNext();
  }

  /** Goes on as the person whom the site knows. */
  identify() {
    const known = this.#identity;
    this.#identity = this.#host.identity ?? null;
    // A page may say the same again and again
    if (this.started && known?.hash !== this.#identity?.hash) this.#open();
    else this.start();
  }

  /** Forgets the visitor, in the site's other tabs too. */
  logout() {
    this.#forget();
  }

  /** Ends it for good. */
  destroy() {
    this.#stopped = true;
    this.#drop();
  }

  /** Sends what is worth nothing later, if it can be sent now. @param {object} frame */
  tell(frame) {
    if (this.#welcomed && this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  /** @param {AbortSignal} signal */
  #watchPage(signal) {
    const wake = (/** @type {boolean} */ stale) => {
      if (this.started && (stale || !this.#socket)) this.#open();
    };
    const follow = (/** @type {boolean} */ gone) => {
      if (gone) this.#host.identity = void this.#forget();
      const { token, visitor } = this.#memory.read();
      if (!token || token === this.#session.token) return;
      this.#session = { ...this.#session, token };
      if (visitor === this.#session.visitor) return;
      this.started = true; // another page began the conversation: be that visitor
      this.#open();
    };
    /** Whose conversation it was when the page was left. @type {string | undefined} */
    let left;
    addEventListener("online", () => wake(true), { signal });
    addEventListener("pageshow", () => {
      follow(!!left && left !== this.#memory.read().visitor); // a page that is kept for the way back hears of nothing
      wake(false);
    }, { signal });
    addEventListener("pagehide", () => {
      left = this.#memory.read().visitor ?? this.#host.identity?.hash; // who only reads has left nothing that could tell
      this.#drop();
    }, { signal });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#hiddenAt = Date.now();
      else wake(Date.now() - this.#hiddenAt > NAP * 1000);
    }, { signal });
    addEventListener("storage", ({ key, newValue }) => follow(key === this.#host.storageKey && newValue === null), { signal });
  }

  #open() {
    if (this.#stopped) return;
    this.#drop();
    this.#expectAnswer(Math.min(PATIENCE, FIRST_PATIENCE * (this.#attempt + 1)));
    const turn = this.#turn;
    if (this.#socketsWork) this.#adopt(this.#dial());
    else {
      const { origin } = this.#host;
      /** @param {WebSocket} socket @param {Chat.Frame} welcome */
      const found = (socket, welcome) => {
        this.#failures = 0;
        this.#drop();
        this.#adopt(socket);
        this.#take(welcome);
      };
      import("./fallback.js").then(
        ({ Fallback }) => turn === this.#turn && this.#adopt(new Fallback(origin, () => this.#dial(), found)),
        () => turn === this.#turn && this.#comeBack(),
      );
    }
  }

  get #socketsWork() {
    return this.#failures < FAILURES;
  }

  /** @returns {WebSocket | undefined} */
  #dial() {
    try {
      const socket = new WebSocket(this.#host.origin.replace(/^http/, "ws") + "/v1/socket");
      socket.onopen = () => socket.send(this.#hello());
      return socket;
    } catch {
      return undefined; // refused by the page's policy
    }
  }

  /** @param {WebSocket | import("./fallback.js").Fallback} [socket] */
  #adopt(socket) {
    if (!socket) return;
    this.#socket = socket;
    socket.onopen = () => socket.send(this.#hello());
    socket.onmessage = (/** @type {{data: string}} */ { data }) => socket === this.#socket && this.#take(JSON.parse(data));
    socket.onclose = (/** @type {{code: number}} */ { code }) => socket === this.#socket && this.#comeBack(code === 1012 ? Math.random() / 2 : undefined);
  }

  /** Tells what the page has told of the visitor. The gateway keeps it for the next message. */
  track() {
    if (this.#welcomed) for (const [name, data] of this.#host.tracked.splice(0)) this.tell({ type: "track", name, data });
  }

  #hello() {
    const { token, log, after } = this.#session;
    this.#shown = token;
    return JSON.stringify({
      type: "hello", v: 1, site: this.#host.site.key, token, log, after,
      page: { ...this.#page(), referrer: document.referrer },
      locale: navigator.language, timezone: Intl.DateTimeFormat().resolvedOptions().timeZone, identity: this.#identity,
    });
  }

  #page() {
    this.#told = location.href;
    return { url: location.href, title: this.#host.title?.() ?? document.title };
  }

  #forget() {
    this.#drop();
    this.#memory.forget();
    this.started = this.#stopped = false;
    this.#session = STRANGER;
    this.#identity = null;
    this.#queue = [];
    this.#quiet = undefined;
    this.#host.tracked = [];
    this.#listener.forgotten();
  }

  #expectAnswer(seconds = PATIENCE) {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#comeBack(), seconds * 1000);
  }

  /** Whether the present connection has proved itself. */
  get #proved() {
    return this.#welcomed > 0 && Date.now() - this.#welcomed > PROVED * 1000;
  }

  /** Lets go of the socket and of all that waits for something on it. */
  #drop() {
    for (const timer of [this.#reopening, this.#deadline, this.#pause]) clearTimeout(timer);
    // Only a connection that lived resets the wait: a gateway that falls over at each hello is not hammered.
    if (this.#proved) this.#attempt = 0;
    const dropped = this.#socket;
    this.#socket = this.#unanswered = undefined;
    this.#welcomed = this.#pause = 0;
    this.#turn++;
    dropped?.close();
    this.#listener.state(false);
  }

  #comeBack(seconds = Math.min(30, 0.5 * 2 ** this.#attempt++) * (0.5 + Math.random() / 2)) {
    // Where plain HTTP fails too, it was not the sockets' fault.
    if (this.#socketsWork) this.#failures = this.#proved && !this.#unanswered ? 0 : this.#failures + 1;
    else if (!this.#welcomed) this.#failures = 0;
    this.#drop();
    this.#reopening = setTimeout(() => this.#open(), seconds * 1000);
  }

  /** @param {Chat.Frame} frame */
  #take(frame) {
    if (frame.type === "welcome") this.#welcome(frame);
    else if (frame.type === "error") this.#error(frame);
    else if (frame.type === "ack") this.#ack(frame);
    else if (frame.type === "message" || frame.type === "revision") this.#entry(frame);
    else this.#listener[/** @type {"read"} */ (frame.type)]?.(/** @type {any} */ (frame));
    if (this.#welcomed && !this.#unanswered) this.#expectAnswer(SILENCE);
  }

  /** @param {Chat.Welcome} frame */
  #welcome(frame) {
    const { token, visitor, log, seq: after } = frame;
    const fresh = frame.reset || log !== this.#session.log || visitor !== this.#session.visitor;
    this.#session = { token, visitor, log, after };
    this.#welcomed ||= Date.now();
    this.#collectQueue();
    for (const entry of frame.messages) if ("id" in entry && entry.delivery !== "failed") this.#settle(entry);
    this.#listener.welcome(frame, fresh);
    this.#listener.state(true);
    this.track();
    if (!this.resumable || this.#keepToken()) this.#sendNext();
  }

  /** Keeps the token, and what the next page shall begin with; or, if another tab was first, goes over to its visitor and returns false. */
  #keepToken() {
    const kept = this.#memory.read();
    const { token, visitor } = this.#session;
    if (kept.token && kept.token !== this.#shown && kept.visitor !== visitor) {
      this.#session = { ...STRANGER, token: kept.token };
      this.#open();
      return false;
    }
    const blocked = !this.#socketsWork;
    if (kept.token !== token || kept.blocked !== blocked) this.#memory.write({ token, visitor, blocked, quiet: this.quiet });
    this.#quiet = undefined;
    return true;
  }

  /** Takes over what pages that are gone have queued. What two tabs send is one message to the gateway. */
  #collectQueue() {
    for (const unsent of this.#memory.read().queue) {
      if (this.#queue.some(({ id }) => id === unsent.id)) continue;
      this.#queue.push(unsent);
      this.#listener.queued(unsent);
    }
  }

  /** One message at a time, so that their order survives a refusal. */
  #sendNext() {
    const next = this.#queue[0];
    if (!next || !this.#welcomed || this.#unanswered || this.#pause) return;
    if (this.#told !== location.href) this.tell({ type: "page", ...this.#page() });
    this.#unanswered = next.id;
    this.tell({ type: "message", id: next.id, text: next.text, attachments: next.attachments.map(({ id }) => id) });
    this.#expectAnswer();
  }

  /** Takes a message out of the queue. @param {{id?: string}} of */
  #settle({ id }) {
    const unsent = this.#queue.find((one) => one.id === id);
    if (!unsent) return;
    this.#queue = this.#queue.filter((one) => one !== unsent);
    this.#memory.write({ queue: this.#memory.read().queue.filter((one) => one.id !== id) });
    return unsent;
  }

  /** Ends the wait, if this answers what was waited for. @param {string | undefined} id */
  #answered(id) {
    if (!id || id !== this.#unanswered) return false;
    this.#unanswered = undefined;
    return true;
  }

  /** @param {{seq: number}} to */
  #reach({ seq }) {
    this.#session = { ...this.#session, after: Math.max(this.#session.after, seq) };
  }

  /** @param {Chat.Ack} frame */
  #ack(frame) {
    if (this.#socketsWork) this.#reach(frame); // else what lies before it may still be on its way by the stream
    this.#answered(frame.id);
    this.#settle(frame);
    this.#listener.ack(frame);
    this.#sendNext();
  }

  /** @param {Chat.Entry} frame */
  #entry(frame) {
    this.#reach(frame);
    if ("id" in frame) this.#settle(frame);
    this.#listener.entry(frame);
  }

  /** @param {Chat.Refusal} frame */
  #error(frame) {
    this.#listener.error(frame);
    if (FINAL.includes(frame.code)) this.#stop(frame);
    else if (frame.code === "bad_identity") this.#goOnAsGuest(frame);
    else if (frame.code === "bad_token") this.#startAnew();
    else if (this.#answered(frame.id)) this.#refused(frame);
    else if (!this.#welcomed) this.#comeBack(frame.retry_after);
  }

  /** @param {Chat.Refusal} frame */
  #refused(frame) {
    if (RETRIED.includes(frame.code)) {
      this.#listener.delayed();
      const seconds = frame.retry_after ?? RETRY;
      this.#pause = setTimeout(() => {
        this.#pause = 0;
        this.#sendNext();
      }, seconds * 1000);
      return;
    }
    this.#fail(frame, frame.code);
    this.#sendNext();
  }

  /** @param {Chat.Refusal} refusal */
  #goOnAsGuest({ detail }) {
    console.warn("Threadbridge:", detail);
    this.#identity = null;
    this.#open();
  }

  /** Begins as a new visitor, who sends what is queued. */
  #startAnew() {
    if (this.#memory.read().token === this.#shown) this.#memory.write({ token: null, visitor: null });
    this.#session = STRANGER;
    this.#comeBack();
  }

  /** Gives up for good; the site's developer reads why. @param {{detail?: string}} refusal */
  #stop({ detail } = {}) {
    if (detail) console.warn("Threadbridge:", detail);
    this.#stopped = true;
    this.#drop();
    for (const unsent of this.#queue) this.#fail(unsent);
    this.#listener.state(false, true);
  }

  /** @param {{id?: string}} of */
  #fail(of, code = "") {
    const unsent = this.#settle(of);
    if (unsent) this.#listener.refused(unsent, code);
  }
}
