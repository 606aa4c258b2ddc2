/** Calls for attention: the title's badge, and a short sound that waits for a first gesture as browsers demand. */

const NOTES = [660, 880];

export class Alerts {
  /** @type {AudioContext | null} */
  #audio = null;
  #title = document.title;

  constructor() {
    this.sound = localStorage.getItem("desk.sound") !== "off";
    const allow = () => {
      this.#audio ??= new AudioContext();
      void this.#audio.resume();
    };
    addEventListener("pointerdown", allow, { once: true });
    addEventListener("keydown", allow, { once: true });
  }

  toggle() {
    this.sound = !this.sound;
    localStorage.setItem("desk.sound", this.sound ? "on" : "off");
    this.ring();
  }

  ring() {
    const audio = this.#audio;
    if (!this.sound || !audio || audio.state !== "running") return;
    NOTES.forEach((frequency, index) => {
      const start = audio.currentTime + index * 0.11;
      const tone = new OscillatorNode(audio, { frequency });
      const volume = new GainNode(audio, { gain: 0 });
      volume.gain.linearRampToValueAtTime(0.12, start + 0.015);
      volume.gain.exponentialRampToValueAtTime(0.0005, start + 0.35);
      tone.connect(volume).connect(audio.destination);
      tone.start(start);
      tone.stop(start + 0.4);
    });
  }

  /** @param {number} unread */
  badge(unread) {
    document.title = unread ? `(${unread}) ${this.#title}` : this.#title;
  }
}
