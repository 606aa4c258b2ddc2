/** The panel: a non-modal dialog with the log and the composer. Its parts are named in `types.d.ts`. */
// In this order the bundle compresses best
import { STYLE, wear } from "./style.js";
import { Log, avatar } from "./log.js";
import { locale, say, speak } from "./texts.js";
import { Connection } from "./connection.js";
import { drawLike, element, icon } from "./nodes.js";
import { Composer, clean } from "./composer.js";

const CLOSE = "M6 6l12 12m0-12L6 18";
const MORE = "M12 5h.01M12 12h.01M12 19h.01";
/** Seconds of a break that nobody is told of. */
const QUIET_BREAK = 2;
/** Pixels from an end that count as being there. */
const NEAR = 80;
/** Pixels from an end of what is shown at which more is. */
const AHEAD = 500;
/** Lets the browser do what else there is: no task of ours keeps a page waiting. */
const pause = () => new Promise((done) => setTimeout(done));
const FULL_SCREEN = matchMedia("(max-width:480px),(max-height:440px)");

/** Makes the panel in the page's language. @param {Chat.Host} host @param {Panel} [former] the one that gives way to it */
export async function create(host, former) {
  const { lang } = document.documentElement;
  const { language, languages } = navigator;
  const said = words(host);
  drawLike(host);
  // The page says which language; in which country, for its dates and numbers, the browser may know
  const { locale: wanted = languages.find((one) => one.startsWith(`${lang}-`)) ?? (lang || language), texts } = host.site.look ?? {};
  host.root.dir = await speak(wanted, /** @type {import("./texts.js").Texts} */ (texts));
  host.root.lang = locale;
  await pause();
  former?.destroy();
  const panel = new Panel(host, said, former);
  await pause();
  return panel;
}

/** What the page wants it to say, and in which language. @param {Chat.Host} host */
function words({ site: { look } }) {
  return JSON.stringify([look?.locale, look?.texts]);
}

export class Panel {
  #host;
  #said;
  #parts = build();
  #log;
  #connection;
  #composer;
  #open = false;
  /** @type {HTMLElement | undefined} */
  #opener;
  #following = true;
  /** Where the scroller stood last, in pixels. */
  #top = 0;
  #read = 0;
  #unread = 0;
  #inSight = false;
  /** Whether older messages can be asked for. */
  #more = false;
  #breakTold = 0;
  /** @type {Promise<typeof import("./typing.js")> | undefined} */
  #typing;
  /** @type {Promise<import("./alerts.js").Alerts | undefined> | undefined} */
  #alerts;
  #ended = new AbortController();
  #agreed = false;
  /** What the page asked for before the visitor agreed. @type {((panel: Panel) => void)[]} */
  #held = [];
  /** Whether it is known how much was said before. */
  #welcomed = false;
  #shown = "";
  /** When that is shown which only some sites have. @type {Promise<unknown> | undefined} */
  #introduced;

  /** @param {Chat.Host} host @param {string} said in whose words @param {Panel} [former] */
  constructor(host, said, former) {
    const { panel } = this.#parts;
    wear(host.shadow, STYLE);
    this.#host = host;
    this.#said = said;
    this.#connection = new Connection(host, this.#listener(), this.#ended.signal);
    this.#composer = new Composer(host, this.#connection, (text) => this.#say(text));
    this.#log = new Log(this.#parts, host.origin, ({ id, text, attachments }) => this.#composer.send(text, attachments, id), (change) => this.#followed(change));
    this.dress();
    this.#listen();
    if (this.#inline) panel.role = "region";
    panel.append(this.#composer.parts.form);
    host.root.append(panel);
    getComputedStyle(panel).opacity; // its closed state has to be computed once, or opening does not move
    if (former) this.#succeed(former);
    if (this.#connection.resumable) this.#connection.start();
    this.#label();
  }

  /** Opens or closes. The focus goes to the composer, and back to where it was. */
  toggle(open = !this.#open, focus = true) {
    if (open === this.#open || (this.#inline && this.#open)) return;
    const { launcher, shadow } = this.#host;
    const from = document.activeElement;
    if (open) this.#opener = from instanceof HTMLElement && from !== document.body && from !== shadow.host ? from : launcher;
    this.#open = open;
    this.#host.opened(open);
    this.#label();
    this.#host.emit(open ? "open" : "close");
    this.#fit();
    if (!open) return shadow.activeElement && this.#opener?.focus(); // else the visitor is elsewhere already
    this.dress();
    this.#follow();
    if (focus) this.#focus();
    this.#news();
  }

  /** Whether the panel is a part of the page, and always open. */
  get #inline() {
    return this.#host.root.classList.contains("inline");
  }

  identify() {
    this.#once((panel) => panel.#connection.identify());
  }

  logout() {
    this.#connection.logout();
  }

  prefill(text = "") {
    this.#once((panel) => panel.#composer.fill(text));
  }

  send(text = "") {
    if (text.trim()) this.#once((panel) => panel.#connection.send(clean(text), []));
  }

  track() {
    this.#connection.track();
  }

  /** Shows what the page has changed. In other words it gives way to another panel, which goes on where this one is. */
  update() {
    if (this.#said !== words(this.#host)) return create(this.#host, this);
    this.dress();
    return this;
  }

  /** @param {Panel} former */
  #succeed(former) {
    const focused = former.#parts.panel.contains(this.#host.shadow.activeElement);
    this.#agreed = former.#agreed;
    this.#held = former.#held;
    this.#open = former.#open;
    this.#opener = former.#opener;
    this.#log.adopt(former.#log);
    this.#composer.succeed(former.#composer);
    former.#parts.panel.remove();
    if (former.#connection.started) this.#connection.start();
    this.dress();
    this.#fit();
    if (focused) this.#focus();
  }

  destroy() {
    this.#ended.abort();
    this.#connection.destroy();
    this.#alert(0);
  }

  /** Whether nothing may be kept or sent yet: the site wants the visitor to agree first. */
  get #asks() {
    return !!this.#host.site.look?.consent && !this.#agreed && !this.#connection.resumable;
  }

  /** Does something now, or when the visitor has agreed. @param {(panel: Panel) => void} act */
  #once(act) {
    if (this.#asks) this.#held.push(act);
    else act(this);
  }

  /** Shows the site's look and texts, where they have changed. */
  dress() {
    const { name, look = {}, answers } = this.#host.site;
    const { panel, heading, intro } = this.#parts;
    const { logo, team, questions, consent, privacy, notice = "measured" } = look;
    const title = look.title || name || say("chat");
    const greeting = look.greeting || say("greeting");
    const asks = this.#asks;
    this.#composer.parts.form.hidden = asks;
    this.#composer.dress();
    const quick = this.#welcomed || !this.#connection.resumable;
    const told = notice === "measured" ? answers : notice;
    const shown = JSON.stringify([title, greeting, logo, team, questions, consent, privacy, asks, quick, told]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    panel.ariaLabel = title;
    heading.replaceChildren(avatar(title), element("bdi", {}, title));
    intro.replaceChildren(avatar(title), greeting);
    intro.toggleAttribute("data-alone", quick);
    this.#asked?.remove();
    for (const act of asks ? [] : this.#held.splice(0)) act(this);
    if (told) import("./notice.js").then(({ announce }) => shown === this.#shown && announce(this.#host.shadow, heading, told), () => {});
    if (!logo && !team && !questions && !consent) return;
    const agree = asks ? () => this.#agree() : undefined;
    this.#introduced = import("./intro.js").then(
      ({ introduce }) => shown === this.#shown && introduce(this.#host, this.#parts, { quick, agree, send: (text) => this.#composer.send(text) }),
      () => {
        this.#shown = ""; // so that it is tried again
        this.#say(say("offline"));
      },
    );
  }

  #agree() {
    this.#agreed = true;
    this.dress();
    this.#focus();
  }

  /** Puts the focus where the visitor goes on. */
  #focus() {
    if (this.#asks) this.#introduced?.then(() => this.#open && this.#asked?.focus());
    else this.#composer.focus();
  }

  /** What the visitor is asked to agree to. @returns {HTMLElement | null} */
  get #asked() {
    return this.#parts.panel.querySelector(".consent");
  }

  /** @returns {Chat.Listener} */
  #listener() {
    return {
      welcome: (welcome, fresh) => {
        const { site, messages, deliveries, read, seen } = welcome;
        this.#host.dress(site);
        if (this.#welcomed) this.#accompany(); // what renews files in a page that is open for long has to be there before a tap
        this.#welcomed = true;
        this.dress();
        if (fresh) {
          this.#read = 0;
          this.#log.clear();
        }
        this.#log.see(seen);
        this.#log.add(messages, fresh);
        for (const { of, state } of deliveries) this.#log.setState(of, state);
        this.#composer.upload();
        this.#more = true;
        this.#arrived(fresh ? [] : messages, read);
      },
      queued: (unsent) => {
        if (this.#log.addUnsent(unsent)) this.#follow();
      },
      ack: (ack) => {
        this.#log.acknowledge(ack);
        this.#unsay("delayed");
        this.#host.emit("message:sent", { id: ack.id, seq: ack.seq });
      },
      refused: (unsent, code) => {
        this.#log.setState(unsent.id, "failed");
        if (code === "too_long" && this.#composer.restore(unsent.text)) this.#log.discard(unsent.id);
      },
      delayed: () => this.#say(say("delayed")),
      entry: (entry) => {
        this.#log.add([entry]);
        this.#arrived([entry]);
      },
      delivery: ({ of, state }) => this.#log.setState(of, state),
      read: ({ seq }) => this.#news(seq),
      seen: ({ seq }) => this.#log.see(seq),
      typing: (frame) => {
        this.#typing ??= import("./typing.js"); // one import, so that what comes meanwhile is shown in its order
        this.#typing.then(({ show }) => show(this.#room, frame), () => (this.#typing = undefined));
      },
      history: ({ messages, more }) => {
        this.#log.add(messages, true);
        this.#more = more;
        setTimeout(() => this.#browse()); // apart from drawing: neither keeps the page waiting
      },
      forgotten: () => {
        this.#log.clear(true);
        this.#composer.clear();
        this.#agreed = false;
        this.#held = [];
        this.dress();
        this.#read = 0;
        clearTimeout(this.#breakTold);
        this.#say();
        this.#news();
      },
      error: ({ code, detail = "" }) => {
        this.#host.emit("error", { code, detail });
        this.#more = true; // what was refused may have been the request for it
      },
      state: (online, stopped) => {
        clearTimeout(this.#breakTold);
        if (online) this.#unsay("connecting");
        else if (stopped) this.#say(say("unavailable"));
        else this.#breakTold = setTimeout(() => this.#say(say("connecting")), QUIET_BREAK * 1000);
      },
    };
  }

  /** @returns {Chat.Room} */
  get #room() {
    return { host: this.#host, connection: this.#connection, parts: this.#parts, tell: (text) => this.#say(text) };
  }

  #listen() {
    const { panel, scroller, log, more, close, jump } = this.#parts;
    const { text } = this.#composer.parts;
    const offline = () => this.#say(say("offline"));
    close.onclick = () => this.toggle();
    more.onclick = () => import("./menu.js").then(({ toggle }) => toggle(this.#room), offline);
    log.onclick = (event) => {
      const { target, ctrlKey, metaKey, shiftKey } = event;
      const link = /** @type {Element} */ (target).closest("a");
      if (!link?.querySelector("img") || ctrlKey || metaKey || shiftKey) return;
      event.preventDefault();
      import("./viewer.js").then(({ view }) => view(this.#room, link), offline);
    };
    for (const type of ["pointerover", "focusin"]) log.addEventListener(type, ({ target }) => this.#accompany(target));
    panel.ondragenter = panel.ondragover = panel.ondragleave = panel.ondrop = (event) => {
      const { dataTransfer, type, relatedTarget } = event;
      if (!dataTransfer?.types.includes("Files")) return;
      event.preventDefault(); // else the browser leaves the page for the file
      if (type === "drop" && !this.#asks) this.#composer.attach(dataTransfer.files);
      import("./drop.js").then(({ mark }) => mark(this.#room, type, relatedTarget), () => {});
    };
    const { root } = this.#host;
    // A page's shortcuts are not meant for what is typed here
    root.onkeyup = root.onkeypress = (event) => event.stopPropagation();
    root.onkeydown = (event) => {
      event.stopPropagation();
      if (!this.#open || event.isComposing || event.keyCode === 229) return;
      if (event.key === "Escape") this.toggle();
      const ends = [...panel.querySelectorAll("button")].filter((one) => one.offsetParent);
      if (event.shiftKey) ends.reverse();
      if (event.key === "Tab" && event.target === ends.at(-1) && panel.ariaModal) {
        event.preventDefault();
        ends[0].focus();
      }
      if (event.key === "Enter" && !event.shiftKey && event.target === text) {
        event.preventDefault();
        this.#composer.submit();
      }
    };
    scroller.onscroll = () => {
      // Only who scrolls up ends it: until this event comes, the log may have grown, or its room shrunk.
      const down = scroller.scrollTop >= this.#top;
      this.#top = scroller.scrollTop;
      this.#following = !this.#log.hides() && (this.#below < NEAR || (this.#following && down));
      if (this.#following && !jump.hidden) this.#follow();
      this.#browse(); // behind that: whoever follows is at the end with each that comes
    };
    jump.onclick = () => {
      this.#follow();
      scroller.focus();
    };
    const resized = new ResizeObserver(() => this.#news());
    resized.observe(scroller);
    resized.observe(log);
    new IntersectionObserver((changes) => {
      for (const { isIntersecting } of changes) this.#inSight = isIntersecting;
      this.#news();
    }).observe(panel);
    const { signal } = this.#ended;
    document.addEventListener("visibilitychange", () => this.#news(), { signal });
    for (const type of ["resize", "scroll"]) /** @type {VisualViewport} */ (visualViewport).addEventListener(type, () => this.#fit(), { signal });
  }

  /** Follows the visitor through the log. @param {EventTarget | null} [target] where this begins */
  #accompany(target) {
    import("./copy.js").then(({ follow }) => follow(this.#room, target), () => {});
  }

  /** Pixels below what is seen. */
  get #below() {
    const { scroller } = this.#parts;
    return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
  }

  /** Goes on to older or newer messages where the visitor has come to an end of those shown. */
  #browse() {
    const { scroller } = this.#parts;
    const { oldest } = this.#log;
    const older = scroller.scrollTop < scroller.clientHeight + AHEAD; // above all messages stands the intro, as high as a screen
    if ((older || this.#below < AHEAD) && this.#log.hides(older)) this.#log.move(older);
    else if (older && this.#more && oldest > 1 && oldest < Infinity) {
      this.#more = false; // until the answer says that there is more
      this.#connection.tell({ type: "history", before: oldest });
    }
  }

  /** Tells of what staff have said. @param {Chat.Entry[]} entries @param {number} [read] */
  #arrived(entries, read) {
    const answers = /** @type {Chat.Message[]} */ (entries).filter(({ from }) => from?.kind === "staff"); // of a revision: nobody
    for (const { seq, text, from } of answers) this.#host.emit("message:received", { seq, text, name: from.name ?? "" });
    this.#news(read);
    if (!answers[0]) return;
    this.#say();
    if (this.#log.hides()) this.#say(say("news")); // which nobody reads out where they are not shown
    this.#alerts?.then((alerts) => alerts?.ring());
  }

  /** Follows, counts and reads what has come; `read` is how far the visitor has read elsewhere. */
  #news(read = 0) {
    if (this.#ended.signal.aborted) return; // what watches the panel sees it go
    this.#read = Math.max(this.#read, read);
    const { count, last } = this.#log.newsAfter(this.#read);
    this.#followed();
    if (!this.#following && count) this.#parts.jump.hidden = false;
    // What watches the panel is told of `hide` at the next frame only
    const seen = last && this.#open && !document.hidden && this.#inSight && this.#parts.panel.getClientRects()[0];
    if (seen) {
      this.#read = last;
      this.#connection.tell({ type: "read", seq: last });
    }
    this.#unread = seen ? 0 : count;
    this.#host.unread(this.#unread);
    this.#alert(this.#unread);
    this.#label();
  }

  /** Tells a visitor who looks elsewhere. @param {number} unread */
  #alert(unread) {
    if (unread) {
      this.#alerts ??= import("./alerts.js").then(({ Alerts }) => new Alerts(this.#host, this.#connection), () => (this.#alerts = undefined));
    }
    this.#alerts?.then((alerts) => alerts?.show(unread));
  }

  #label() {
    const news = this.#unread ? [say("unread", { n: this.#unread })] : [];
    this.#host.launcher.ariaLabel = [say(this.#open ? "close" : "open"), ...news].join(", ");
  }

  /** Stays at the end of what changes, unless the visitor has just scrolled up and the event that tells of it is to come. @param {() => void} [change] */
  #followed(change) {
    this.#following &&= this.#parts.scroller.scrollTop >= this.#top || this.#below < NEAR;
    change?.();
    if (this.#following) this.#follow();
  }

  #follow() {
    const { scroller, jump } = this.#parts;
    if (this.#log.hides()) this.#log.show();
    this.#following = true;
    this.#unsay("news");
    jump.hidden = true;
    scroller.scrollTop = scroller.scrollHeight;
    this.#top = scroller.scrollTop;
  }

  /** Takes back what was said, if it was this. @param {string} key */
  #unsay(key) {
    if (this.#parts.status.textContent === say(key)) this.#say();
  }

  #say(text = "") {
    const { status } = this.#parts;
    if (text !== status.textContent) status.textContent = text; // nobody wants it read out again
  }

  /** Covers what a small screen's keyboard leaves; the page below is then out of reach. */
  #fit() {
    const { panel } = this.#parts;
    const full = FULL_SCREEN.matches && this.#open && !this.#inline;
    panel.ariaModal = full ? "true" : null;
    const { scale, offsetTop, height } = /** @type {VisualViewport} */ (visualViewport);
    // Of a panel that is zoomed the rest can be reached
    panel.style.cssText = full && scale < 1.1 ? `top:${offsetTop}px;height:${height}px` : "";
  }
}

function build() {
  const heading = element("div", { class: "heading" });
  const close = element("button", { part: "close", "aria-label": say("close") }, icon(CLOSE));
  const more = element("button", { part: "more", "aria-label": say("more"), "aria-haspopup": "menu" }, icon(MORE));
  const head = element("div", { class: "head" }, heading, more, close);
  const intro = element("div", { class: "intro", dir: "auto" });
  // The history is in no live region: however soon something new comes after it, that alone is read out
  const live = element("div", { role: "log", "aria-label": say("messages"), "aria-relevant": "additions" });
  const log = element("div", { part: "log" }, element("div"), live);
  const scroller = element("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": say("conversation") }, intro, log);
  const jump = element("button", { part: "jump", hidden: "" }, say("news"));
  const status = element("div", { part: "status", role: "status" });
  const panel = element("div", { part: "panel", role: "dialog" }, head, scroller, jump, status);
  return { panel, heading, intro, scroller, log, jump, status, more, close };
}
