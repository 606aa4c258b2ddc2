/** How soon somebody usually answers, below the title. */
import { element } from "./nodes.js";
import { wear } from "./style.js";
import { say, teach } from "./texts.js";

const STYLE = `
.heading small { display: block; margin-block-start: 1px; color: inherit; font-size: 13px; font-weight: 450; text-wrap: pretty }
`;

teach({
  soon: "Usually answers within a few minutes",
  minutes: { one: "Usually answers within {n} minute", other: "Usually answers within {n} minutes" },
  hour: "Usually answers within an hour",
  hours: { one: "Usually answers within {n} hour", other: "Usually answers within {n} hours" },
  day: "Usually answers within a day",
});

/** Shows a text of the site's own, or what was measured in seconds. @param {ShadowRoot} shadow @param {HTMLElement} heading @param {string | number} notice */
export function announce(shadow, heading, notice) {
  const text = typeof notice === "number" ? measured(notice) : notice;
  if (!text) return;
  wear(shadow, STYLE);
  const title = /** @type {Element} */ (heading.lastElementChild);
  heading.append(element("div", {}, title, element("small", {}, element("bdi", {}, text))));
}

/** Rounded up, so that it is kept more often than not; of more than a day nothing is said. */
function measured(seconds = 0) {
  const minutes = Math.ceil(seconds / 300) * 5;
  const hours = Math.ceil(seconds / 3600);
  if (minutes <= 5) return say("soon");
  if (minutes < 60) return say("minutes", { n: minutes });
  if (hours === 1) return say("hour");
  if (hours <= 12) return say("hours", { n: hours });
  return hours <= 24 ? say("day") : "";
}
