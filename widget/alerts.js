/** What tells a visitor who looks elsewhere that somebody has answered: the number in the title, and a sound. */
import { locale } from "./texts.js";

/** Seconds that a tab has in which to show that the visitor is reading there. */
const GRACE = 0.4;
/** Seconds in which one sound is enough, in all tabs together. */
const ONE = 2;
/** Hertz, and when each begins. */
const NOTES = [[660, 0], [880, 0.12]];
/** The page's one: Safari lets it sound when a gesture has asked for it, and then for good. @type {AudioContext | undefined} */
let audio;

export class Alerts {
  #host;
  #connection;
  #unread = 0;
  /** What stands before the page's own title. */
  #mark = "";

  /** @param {Chat.Host} host @param {import("./connection.js").Connection} connection */
  constructor(host, connection) {
    this.#host = host;
    this.#connection = connection;
    host.title = () => this.#own;
    for (const gesture of ["pointerup", "keydown"]) {
      addEventListener(gesture, () => this.#wanted && wake().catch(() => {}), { capture: true, once: true });
    }
  }

  /** Whether both the site and the visitor want a sound. */
  get #wanted() {
    return String(this.#host.site.look?.sound) !== "false" && !this.#connection.quiet;
  }

  /** The page's own title. It may have changed meanwhile, and may keep or have dropped what was put before it. */
  get #own() {
    return document.title.startsWith(this.#mark) ? document.title.slice(this.#mark.length) : document.title;
  }

  /** Shows how many messages nobody has seen: in the title while the page is out of sight. */
  show(unread = 0) {
    this.#unread = unread;
    const own = this.#own;
    this.#mark = unread && document.hidden ? `(${unread.toLocaleString(locale)}) ` : "";
    if (document.title !== this.#mark + own) document.title = this.#mark + own;
  }

  /** Sounds, in one of the site's tabs, unless the message is read by then. Browsers allow it after the first gesture. */
  ring() {
    if (!this.#wanted || !navigator.userActivation?.hasBeenActive) return;
    setTimeout(() => {
      if (!this.#unread) return;
      // Locks exist in secure contexts only; elsewhere each tab sounds.
      if (!navigator.locks) return void play().catch(() => {});
      const asked = navigator.locks.request(this.#host.storageKey, { ifAvailable: true }, (lock) => {
        if (!lock) return;
        play().catch(() => {});
        return new Promise((done) => setTimeout(done, ONE * 1000));
      });
      asked.catch(() => {}); // a frame that may not ask for one
    }, GRACE * 1000);
  }
}

/** Asks a browser that wants a gesture for it, in one. */
async function wake() {
  audio ??= new AudioContext();
  if (audio.state === "running") return;
  await audio.resume();
  await audio.suspend();
}

/** Sounds now or not at all: what a browser holds back would sound with the next click. */
async function play() {
  const asked = Date.now();
  const sounding = (audio ??= new AudioContext());
  await sounding.resume();
  if (Date.now() - asked > ONE * 1000) return;
  for (const [pitch, at] of NOTES) {
    const from = sounding.currentTime + at;
    const tone = new OscillatorNode(sounding, { frequency: pitch });
    const volume = new GainNode(sounding, { gain: 0 });
    volume.gain.setValueAtTime(0, from);
    volume.gain.linearRampToValueAtTime(0.12, from + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, from + 0.5);
    tone.connect(volume).connect(sounding.destination);
    tone.start(from);
    tone.stop(from + 0.5);
    tone.onended = () => at && sounding.suspend();
  }
}
