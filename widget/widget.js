/**
 * The script of the embed. Draws the launcher, and imports the panel when the visitor is about to want it.
 * A classic script, because only such a one is told its own tag; nothing it does may throw into the page.
 */
(() => {
  "use strict";

  const script = document.currentScript;
  if (!(script instanceof HTMLScriptElement)) return;
  const { dataset, src } = script;
  const { origin } = new URL(src);
  const SWITCH = /^(true|false)$/;
  const PIXELS = /^\d{1,3}$/;
  const ANY = /^(?!undefined$)/;
  /** What a page can ask for, and how it may read. @type {Record<string, RegExp | undefined>} */
  const OPTIONS = {
    accent: /^#[\da-f]{6}$/i, position: /^(left|right)$/, theme: /^(auto|light|dark)$/, side: PIXELS, bottom: PIXELS, zIndex: /^\d+$/,
    launcher: SWITCH, voice: SWITCH, sound: SWITCH, site: ANY, target: ANY, title: ANY, greeting: ANY, logo: ANY, team: ANY,
    questions: ANY, consent: ANY, privacy: ANY, notice: ANY, locale: ANY, texts: /^(null|\[o)/,
  };
  /** A name and flat data, in which nothing stands that the gateway refuses. */
  const TRACKED = /^(?=[^]{0,20000}$)\["([^"\\]|\\(?!u0000|ud).)*",(null|{("([^"\\]|\\(?!u0000|ud).)*"|[^"{[])*})]$/;
  /** @type {Threadbridge.Options} */
  let options = {};
  /** How many messages nobody has seen. */
  let count = 0;
  /** The widget's element, once it was drawn. @type {Element} */
  let element;
  /** @type {Record<string, ((detail: unknown) => void)[]>} */
  const listeners = {};

  const STYLE = `
:host { all: initial !important }
:host(.inline) { display: block !important; block-size: 100% !important }
.root { -webkit-tap-highlight-color: transparent }
.launcher {
  position: fixed; z-index: var(--layer); bottom: calc(min(var(--bottom), 100dvh - 80px) + env(safe-area-inset-bottom)); right: min(var(--side), 100vw - 80px);
  display: grid; place-items: center; inline-size: 60px; block-size: 60px; margin: 0; padding: 0; border: 0; border-radius: 50%;
  background: var(--accent); color: var(--on); cursor: pointer; touch-action: manipulation;
  box-shadow: inset 0 0 0 1px #fff2, 0 8px 24px -4px #0006;
  transition: transform .2s; animation: arrive .35s cubic-bezier(.2, .9, .3, 1.2);
}
:is(.bare, .inline) .launcher { display: none }
.left .launcher { right: auto; left: min(var(--side), 100vw - 80px) }
@media (hover) { .launcher:hover { transform: scale(1.06) } }
.launcher:active { transform: scale(.95) }
.launcher:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; box-shadow: 0 0 0 3px var(--on) }
.launcher svg { grid-area: 1 / 1; inline-size: 32px; block-size: 32px; fill: currentColor; transition: transform .25s, opacity .2s }
.launcher svg + svg { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linecap: round }
.launcher svg + svg, .open .launcher svg { opacity: 0; transform: rotate(-60deg) scale(.6) }
.open .launcher svg + svg { opacity: 1; transform: none }
@keyframes arrive { from { opacity: 0; transform: scale(.5) } }
@media (prefers-reduced-motion: reduce) { .root * { animation: none !important; transition: none !important } }
@media (forced-colors: active) { .launcher { border: 1px solid } }
@media print { .root { display: none } }`;
  const BUBBLE = "M12 4C7 4 3 7.2 3 11.2c0 2.3 1.4 4.4 3.5 5.7L5.6 20l4-1.7q1.2.2 2.4.2c5 0 9-3.3 9-7.3S17 4 12 4z";
  const DOWN = "M6 9.5l6 6 6-6";

  /** Takes over what a page asks for; what there is not, or cannot be so, is told and passed over. @param {object} [given] */
  function ask(given = {}) {
    for (let [name, value] of Object.entries(given)) {
      try {
        if (name === "texts") value = JSON.parse(value); // as in a tag's attribute
      } catch {} // what the page gives itself is none
      if (OPTIONS[name]?.test(value)) options = { ...options, [name]: value };
      else if (value !== undefined) warn(OPTIONS[name] ? `${name} cannot be ${value}` : `there is no option ${name}`);
    }
  }

  /** Gives a look's numbers and colour to the styles, and black or white on it: one of the two always has 4.5:1. @param {Threadbridge.Options} look */
  function measures({ accent = "#3355dd", side = 20, bottom = 20, zIndex = 2147483000 }) {
    // A part that is nearly nothing is taken for a thousandth more than it is, by which white has more contrast, not less
    const [red, green, blue] = [1, 3, 5].map((at) => ((parseInt(accent.slice(at, at + 2), 16) / 255 + 0.055) / 1.055) ** 2.4);
    const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    const on = 1.05 / (luminance + 0.05) >= 4.5 ? "#fff" : "#000";
    return `:host{--layer:${zIndex};--side:${side}px;--bottom:${bottom}px;--accent:${accent};--on:${on}}`;
  }

  /** Drops what was being written. @param {string} key the storage's */
  function undraft(key) {
    try {
      sessionStorage.removeItem(key + ":draft");
    } catch {} // refused
  }

  /** @param {string} [path] in 24 by 24 units */
  function icon(path = "") {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const shape = svg.appendChild(document.createElementNS(svg.namespaceURI, "path"));
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.ariaHidden = "true";
    shape.setAttribute("d", path);
    return svg;
  }

  /** Tells the page. What its listener throws is the page's own error. @param {string} event @param {unknown} [detail] */
  function emit(event, detail) {
    for (const listener of listeners[event] ?? []) queueMicrotask(() => listener(detail));
  }

  /** @param {Chat.Site} site @returns {Record<string, (value?: any) => void>} what the page can ask for */
  function draw(site) {
    const storageKey = "threadbridge:" + site.key;
    const shadow = (element = document.createElement("threadbridge-widget")).attachShadow({ mode: "open" });
    const chosen = new CSSStyleSheet();
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    shadow.adoptedStyleSheets = [sheet, chosen];

    const root = shadow.appendChild(document.createElement("div"));
    const launcher = root.appendChild(document.createElement("button"));
    const badge = document.createElement("span");
    launcher.part = launcher.className = "launcher";
    badge.part = badge.className = "badge";
    badge.hidden = true;
    launcher.append(icon(BUBBLE), icon(DOWN), badge);

    /** @type {Chat.Host} */
    const host = {
      storageKey, origin, site, shadow, root, launcher, icon, emit, tracked: [],
      dress(site) {
        const look = (site.look = { ...site.look, ...options });
        host.site = site;
        chosen.replaceSync(measures(look));
        root.classList.toggle("left", look.position === "left");
        root.classList.toggle("bare", String(look.launcher) === "false");
        root.dataset.theme = look.theme ?? "auto";
      },
      opened(open) {
        root.classList.toggle("open", open);
        launcher.ariaExpanded = String(open);
      },
      unread(messages) {
        if (count !== messages) emit("unread", messages);
        count = messages;
        badge.hidden = !count;
        if (count) badge.textContent = count.toLocaleString(root.lang); // a phone's first number takes long
      },
    };
    /** Names the launcher until the panel brings the visitor's language: "Chat" is understood in all of them. */
    const label = () => (launcher.ariaLabel = options.texts?.open ?? "Chat");
    root.className = "root";
    launcher.ariaHasPopup = "dialog";
    host.dress(site);
    label();
    host.opened(false);

    /** @type {Promise<import("./panel.js").Panel> | undefined} */
    let panel;
    const load = () =>
      (panel ??= import(new URL("__ASSETS__/panel.js", origin).href)
        .then(({ create }) => create(host))
        .catch((error) => {
          panel = undefined; // so that the next click tries again
          throw error;
        }));
    /** @param {(panel: import("./panel.js").Panel) => void} [act] */
    const later = (act) => void load().then(act).catch(warn);
    /** Loads the panel while the widget is there. @param {any} [act] what to do with it; an event is nothing */
    const prepare = (act) => shadow.host.isConnected && later(act);
    // As it stands when the visitor asks: who asks again, because nothing is there yet, means the same
    const toggle = (open = !root.classList.contains("open")) => later((panel) => panel.toggle(open));
    const idle = self.requestIdleCallback ?? setTimeout;
    launcher.onpointerenter = launcher.onfocus = prepare; // a finger enters before it presses
    launcher.onclick = () => toggle();
    const forget = () => {
      host.identity = undefined;
      host.tracked = [];
    };
    const stored = (/** @type {StorageEvent} */ { key, newValue }) => {
      if (key !== storageKey) return;
      if (newValue) return prepare();
      forget(); // the visitor has logged out in another tab
      undraft(key);
    };
    addEventListener("storage", stored);
    // A page that is kept for the way back hears of no logout; where there is a panel, that sees to it
    const left = () => root.children[1] || forget();
    addEventListener("pagehide", left);
    const { target } = options;
    const place = typeof target === "string" ? document.querySelector(target) : target;
    (place ?? document.body).append(shadow.host);
    if (place) {
      shadow.host.className = "inline";
      root.classList.add("inline");
      later((panel) => panel.toggle(true, false));
    }
    try {
      if (localStorage.getItem(storageKey)) idle(prepare);
    } catch {} // a page that may not use storage has nothing stored

    return {
      open: () => toggle(true),
      close: () => panel && toggle(false),
      toggle: () => toggle(),
      show: () => (root.hidden = false),
      hide: () => (root.hidden = true),
      identify(identity) {
        if (host.identity && host.identity.id !== identity?.id) self.threadbridge("logout"); // nothing of theirs is this person's
        host.identity = identity;
        const go = () => host.identity && prepare((/** @type {import("./panel.js").Panel} */ panel) => panel.identify());
        if (panel) go();
        else idle(go);
      },
      logout() {
        forget();
        if (panel) later((panel) => panel.logout());
      },
      prefill: (text) => later((panel) => panel.prefill(text)),
      send: (text) => later((panel) => panel.send(text)),
      track(name, data = null) {
        const told = JSON.stringify([String(name), data]);
        if (!TRACKED.test(told) || !/[^\p{C}\p{Z}]/u.test(name)) throw "track takes a name, and flat data";
        host.tracked = [...host.tracked, JSON.parse(told)].slice(-10);
        if (panel) later((panel) => panel.track());
      },
      update(changes) {
        if (changes?.target) warn("target is for boot");
        ask(changes);
        host.dress(host.site);
        panel = panel?.then((panel) => panel.update());
        if (panel) later();
        else label();
      },
      destroy() {
        removeEventListener("storage", stored);
        removeEventListener("pagehide", left);
        if (panel) later((panel) => panel.destroy());
        shadow.host.remove();
      },
    };
  }

  /** @param {unknown} reason */
  function warn(reason) {
    console.warn("Threadbridge:", reason);
  }

  /** Takes the page's calls, keeping those that come before there is a widget. */
  function listen() {
    /** @type {any[][]} */
    let waiting = [];
    /** @type {Record<string, (...given: any[]) => void> | undefined} */
    let drawn;
    /** Of a start that the page has taken back since, nothing is drawn. @type {Promise<Chat.Site> | undefined} */
    let starting;
    /** @type {Record<string, (...given: any[]) => unknown>} */
    const always = {
      unread: () => count,
      on: (event, listener) => (listeners[event] ??= []).push(listener),
      off: (event, listener) => (listeners[event] = (listeners[event] ?? []).filter((one) => one !== listener)),
      boot(given) {
        ask(given);
        if (drawn && !element.isConnected) always.destroy(); // went with the page's former body
        if (starting || !options.site) return;
        const own = (starting = start(options.site));
        own.then((site) => {
          if (starting !== own) return;
          drawn = draw(site);
          emit("ready");
          for (const call of waiting.splice(0)) take(...call);
        }).catch((error) => {
          starting = undefined;
          warn(error);
        });
      },
      setTheme: (theme) => take("update", { theme }),
      setLocale: (locale) => take("update", { locale }),
      destroy() {
        drawn?.destroy();
        drawn = undefined;
        starting = undefined;
        count = 0;
      },
    };
    const take = (/** @type {any[]} */ ...call) => {
      const [verb, ...given] = call;
      const act = always[verb] ?? drawn?.[verb];
      try {
        if (verb === "logout") {
          const key = "threadbridge:" + options.site;
          // At once: who is gone must not come back because a script could not be loaded
          undraft(key);
          localStorage[key] = ""; // else, with nothing there, the site's other tabs would not be told
          localStorage.removeItem(key);
        }
      } catch {} // nothing was stored
      try {
        if (act) return act(...given);
      } catch (error) {
        return warn(error);
      }
      if (drawn) warn(`there is no ${verb}`);
      else waiting.push(call);
    };
    if (self.threadbridge?.v) return self.threadbridge("boot"); // a page may hold the script twice, or a new body bring it
    const early = self.threadbridge?.q ?? [];
    self.threadbridge = Object.assign(take, { v: 1 });
    ask({ ...dataset });
    for (const call of early) take(...call);
    always.boot();
  }

  /** @param {string} key */
  async function start(key) {
    if (!"".toWellFormed) throw "this browser is too old";
    const response = await fetch(`${origin}/v1/sites/${encodeURIComponent(key)}`);
    const site = await response.json();
    if (!response.ok) throw `site ${key}: ${site.detail}`;
    if (!document.body) await new Promise((done) => addEventListener("DOMContentLoaded", done));
    return site;
  }

  listen();
})();
