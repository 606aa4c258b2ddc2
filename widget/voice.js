/** Records a voice note and hands it to the composer as a file. Loaded when the visitor asks for it. */
import { element, icon } from "./nodes.js";
import { wear } from "./style.js";
import { locale, say, teach } from "./texts.js";

const CANCEL = "M7 7l10 10m0-10L7 17";
const STOP = "M7 7h10v10H7z";
const SEND = "M12 19V5m-6 6l6-6 6 6";
/** By how many people can play it: Safari and its relatives know nothing else than the first. */
const TYPES = ["audio/mp4;codecs=mp4a.40.2", "audio/webm;codecs=opus"];
/** How a file of a type ends, for the players of those who get it. @type {Record<string, string>} */
const ENDINGS = { "audio/mp4": "m4a", "audio/ogg": "ogg" };
/** Seconds. */
const LONGEST = 600;
/** So that the longest is well within what the gateway takes. */
const BITS = 64_000;
/** How often a second the level is drawn, and how many levels are seen. */
const RATE = 12;
const LEVELS = 48;

const STYLE = `
.form[data-recording] .field { display: none }
.recorder { display: flex; align-items: center; gap: 4px; padding: 4px; border-radius: 24px; background: var(--raised) }
.panel .recorder button { flex: none; inline-size: 40px; block-size: 40px; border-radius: 50%; color: var(--soft) }
@media (hover) { .panel .recorder button:hover { color: inherit } }
.panel .recorder .finish { background: var(--accent); color: var(--on) }
.recorder .lamp { flex: none; inline-size: 10px; block-size: 10px; margin-inline-start: 4px; border-radius: 50%; background: var(--alarm); animation: lamp 1.6s infinite }
.recorder time { min-inline-size: 3.2em; text-align: center; font-variant-numeric: tabular-nums; font-size: 14px }
.levels { flex: 1; display: flex; align-items: center; justify-content: end; gap: 2px; min-inline-size: 0; block-size: 32px; overflow: hidden }
.levels i { flex: none; inline-size: 2px; block-size: calc(2px + var(--level, 0) * 26px); border-radius: 1px; background: var(--soft) }
@keyframes lamp { 50% { opacity: .3 } }
@media (pointer: coarse) { .panel .recorder button { inline-size: 44px; block-size: 44px } .recorder { border-radius: 26px } }
@media (prefers-reduced-motion: reduce) { .levels { visibility: hidden } }
@media (forced-colors: active) { .recorder, .panel .recorder .finish { border: 1px solid } .recorder .lamp, .levels i { background: CanvasText } }
`;

teach({
  recording: "Recording…",
  discard: "Discard the voice note",
  listen: "Stop and listen",
  sendVoice: "Send the voice note",
  blocked: "The microphone is blocked. Allow it in the browser’s settings of this page.",
  noMicrophone: "No microphone was found.",
  broken: "This does not work at the moment.",
});

let asking = false;

/** @param {Chat.Host} host @param {import("./composer.js").Composer} composer @param {(text?: string) => void} tell @param {AbortSignal} visit */
export async function record(host, composer, tell, visit) {
  if (asking) return;
  asking = true;
  /** @type {MediaStream | undefined} */
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    wear(host.shadow, STYLE);
    if (overheard(host) && !visit.aborted) new Recording(stream, host, composer, tell, visit);
    else hush(stream); // the visitor has left or closed the panel before the browser was answered
  } catch (error) {
    hush(stream);
    const { name } = /** @type {DOMException} */ (error);
    tell(say(name === "NotAllowedError" ? "blocked" : name === "NotFoundError" ? "noMicrophone" : "broken"));
  }
  asking = false;
}

/** Nobody is listened to behind a closed panel. @param {Chat.Host} host */
function overheard({ root }) {
  return root.isConnected && !root.hidden && root.classList.contains("open");
}

/** Lets go of the microphone. @param {MediaStream} [stream] */
function hush(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

class Recording {
  #host;
  #composer;
  #visit;
  #tell;
  #stream;
  #recorder;
  #meter;
  /** @type {Blob[]} */
  #chunks = [];
  #began = Date.now();
  #bar;
  /** What is done with it once it has ended. @type {(file: File) => unknown} */
  #use = (file) => this.#keep(file);

  /** @param {MediaStream} stream @param {Chat.Host} host @param {import("./composer.js").Composer} composer @param {(text?: string) => void} tell @param {AbortSignal} visit */
  constructor(stream, host, composer, tell, visit) {
    this.#host = host;
    this.#composer = composer;
    this.#visit = visit;
    this.#tell = tell;
    this.#stream = stream;
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    this.#recorder = new MediaRecorder(stream, { mimeType, audioBitsPerSecond: BITS });
    this.#recorder.ondataavailable = ({ data }) => this.#chunks.push(data);
    this.#recorder.start(1000); // first of all: where the browser cannot, nothing has changed yet
    this.#meter = meter(stream);
    const ticking = setInterval(() => this.#tick(), 1000 / RATE);
    this.#recorder.onstop = () => {
      clearInterval(ticking);
      this.#end();
    };
    this.#visit.addEventListener("abort", () => this.#stop());
    this.#bar = this.#draw();
    tell(say("recording"));
  }

  #draw() {
    const { form, field } = this.#composer.parts;
    const discard = button("discard", CANCEL, () => this.#stop(() => this.#composer.focus()));
    const listen = button("listen", STOP, () => this.#stop((file) => this.#keep(file, true)));
    const finish = button("sendVoice", SEND, () => this.#stop((file) => this.#send(file)));
    finish.className = "finish";
    const levels = element("div", { class: "levels", "aria-hidden": "true" }, ...Array.from({ length: LEVELS }, () => element("i")));
    const bar = element("div", { part: "recorder", role: "group", "aria-label": say("recording") }, discard, element("span", { class: "lamp" }), element("time", { role: "timer" }), levels, listen, finish);
    bar.onkeydown = (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation(); // it means the recording, not the panel
      listen.click();
    };
    form.toggleAttribute("data-recording", true);
    field.after(bar);
    finish.focus();
    return bar;
  }

  #tick() {
    const seconds = (Date.now() - this.#began) / 1000;
    const [time, levels] = [this.#bar.querySelector("time"), this.#bar.querySelector(".levels")];
    if (time) time.textContent = clock(seconds);
    const oldest = /** @type {HTMLElement} */ (levels?.firstElementChild);
    oldest.style.setProperty("--level", (this.#meter?.level() ?? 0).toFixed(2));
    levels?.append(oldest);
    if (!this.#bar.isConnected) this.#stop();
    else if (seconds > LONGEST || !overheard(this.#host)) this.#stop(this.#use);
  }

  /** @param {(file: File) => unknown} [use] */
  #stop(use = () => {}) {
    if (this.#recorder.state === "inactive") return;
    this.#use = use;
    this.#recorder.stop();
  }

  /** Also where the microphone itself went away. */
  #end() {
    hush(this.#stream);
    this.#meter?.close();
    this.#composer.parts.form.toggleAttribute("data-recording", false);
    this.#bar.remove();
    this.#tell();
    const type = this.#recorder.mimeType.split(";")[0];
    const at = new Date().toLocaleString("sv").slice(0, 16).replace(/\D/g, "-"); // Swedish dates are those of ISO 8601
    if (!this.#visit.aborted) this.#use(new File(this.#chunks, `voice-${at}.${ENDINGS[type] ?? "webm"}`, { type }));
  }

  /** Puts it where it can be listened to before it is sent. @param {File} file */
  async #keep(file, focus = false) {
    if (!file.size) return this.#composer.focus(); // stopped before it began
    await this.#composer.attach([file], undefined, false);
    if (focus) this.#composer.parts.send.focus();
  }

  /** @param {File} file */
  async #send(file) {
    await this.#keep(file);
    if (!this.#visit.aborted) this.#composer.submit();
  }
}

/** Measures how loud it is, from 0 to 1; where the browser cannot, nothing does. @param {MediaStream} stream */
function meter(stream) {
  const context = new AudioContext();
  try {
    const analyser = context.createAnalyser();
    const wave = new Float32Array(analyser.fftSize);
    context.createMediaStreamSource(stream).connect(analyser);
    return {
      level() {
        analyser.getFloatTimeDomainData(wave);
        return Math.min(1, (Math.hypot(...wave) / Math.sqrt(wave.length)) * 4);
      },
      close: () => context.close(),
    };
  } catch {
    void context.close(); // Firefox wants microphone and context to have one sample rate
    return undefined;
  }
}

function clock(seconds = 0) {
  return new Date(seconds * 1000).toLocaleTimeString(locale, { minute: "2-digit", second: "2-digit", timeZone: "UTC" });
}

/** @param {string} label @param {string} path @param {() => void} act */
function button(label, path, act) {
  const made = element("button", { type: "button", "aria-label": say(label) }, icon(path));
  made.onclick = act;
  return made;
}
