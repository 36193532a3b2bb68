// How long it takes until all pictures have the tags of new labels.

const plural = (count) => `${count.toLocaleString("en")} ${count === 1 ? "picture" : "pictures"}`;

function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

export class Retagging {
  constructor() {
    this.revision = 0; // of the labels, as the server counts them
    this.start = null; // while it goes on
    this.done = ""; // what is said afterwards
  }

  /** The labels were changed just now. */
  begin(count) {
    this.start = count ? performance.now() : null;
    this.done = "";
    this.before = this.revision;
  }

  /** See whether the last answer has come. */
  check(pictures) {
    if (this.start === null || this.revision === this.before) return;
    const all = [...pictures];
    if (!all.every(({ revision }) => revision >= this.revision)) return;
    const took = duration(performance.now() - this.start);
    this.done = `${plural(all.length)} re-tagged in ${took}`;
    this.start = null;
  }

  /** A sentence about all pictures, of which some wait for their first tags. */
  describe(count, waiting) {
    if (!count) return "";
    if (waiting) return `${count - waiting} of ${plural(count)} tagged`;
    if (this.start !== null) return `Re-tagging ${plural(count)}`;
    return this.done || `${plural(count)} tagged`;
  }
}
