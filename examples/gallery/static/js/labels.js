// The labels: chips to remove, a field to add more, a list of sets to choose from.

const MOST = 100;

/**
 * @param onChange Called with the new labels, as the server takes them.
 */
export class Labels {
  constructor({ field, list, input, select }, onChange) {
    Object.assign(this, { list, input, select, onChange });
    this.labels = [];
    this.labelSet = null; // a stored one, until its labels are edited
    this.sets = new Map();
    this.chips = new Map();
    field.addEventListener("click", (event) => event.target === field && input.focus());
    input.addEventListener("keydown", (event) => this.typed(event));
    input.addEventListener("input", () => input.value.includes(",") && this.addTyped());
    input.addEventListener("change", () => this.addTyped()); // also of a keyboard without Enter
    list.addEventListener("click", ({ target }) => {
      const chip = target.closest("button")?.closest(".chip");
      if (chip) this.remove(chip.dataset.label);
    });
    select.addEventListener("change", () => this.choose(select.value));
  }

  /** Offer sets. The first of them is chosen, without a call of `onChange`. */
  offer(suggestions, stored = {}) {
    for (const [title, sets, isStored] of [
      ["Suggestions", suggestions, false],
      ["Stored label sets", stored, true],
    ]) {
      const group = document.createElement("optgroup");
      group.label = title;
      for (const [name, labels] of Object.entries(sets)) {
        const key = `${isStored}:${name}`;
        this.sets.set(key, { labels, labelSet: isStored ? name : null });
        group.append(new Option(name, key));
      }
      if (group.children.length) this.select.append(group);
    }
    const [[key, first]] = this.sets;
    this.select.value = key;
    this.set(first.labels, null);
  }

  get request() {
    return this.labelSet ? { label_set: this.labelSet } : { labels: this.labels };
  }

  choose(key) {
    const set = this.sets.get(key);
    if (!set) return;
    this.set(set.labels, set.labelSet);
    this.onChange(this.request);
  }

  typed(event) {
    if (event.key === "Enter") {
      event.preventDefault();
      this.addTyped();
    } else if (event.key === "Backspace" && !this.input.value && this.labels.length > 1) {
      this.remove(this.labels.at(-1));
    }
  }

  addTyped() {
    const typed = this.input.value.split(",").map((label) => label.trim().replace(/\s+/g, " "));
    this.input.value = "";
    const fresh = [...new Set(typed)].filter((label) => label && !this.labels.includes(label));
    if (fresh.length) this.edit([...this.labels, ...fresh].slice(0, MOST));
  }

  remove(label) {
    const index = this.labels.indexOf(label);
    this.edit(this.labels.filter((each) => each !== label));
    // The focus stays where it was, on the chip that took its place.
    const buttons = this.list.querySelectorAll("button");
    (buttons[Math.min(index, buttons.length - 1)] ?? this.input).focus();
    if (document.activeElement?.disabled !== false) this.input.focus();
  }

  edit(labels) {
    if (!labels.length) return; // there is always one
    this.select.value = "";
    this.set(labels, null);
    this.onChange(this.request);
  }

  set(labels, labelSet) {
    Object.assign(this, { labels: [...labels], labelSet });
    this.chips = new Map(labels.map((label) => [label, this.chips.get(label) ?? chip(label)]));
    this.list.replaceChildren(...this.chips.values());
    for (const each of this.chips.values()) {
      each.querySelector("button").disabled = labels.length === 1;
    }
  }

  /** Show of how many pictures each label is the best. */
  count(pictures) {
    const counts = new Map();
    for (const { best } of pictures) counts.set(best, (counts.get(best) ?? 0) + 1);
    for (const [label, element] of this.chips) {
      const count = counts.get(label) ?? 0;
      element.querySelector(".count").textContent = count || "";
      element.classList.toggle("found", count > 0);
    }
  }
}

function chip(label) {
  const element = document.createElement("li");
  element.className = "chip";
  element.dataset.label = label;
  const [name, count] = ["name", "count"].map((className) => {
    const part = document.createElement("span");
    part.className = className;
    return part;
  });
  name.textContent = label;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "×";
  button.setAttribute("aria-label", `Remove the label ${label}`);
  element.append(name, count, button);
  return element;
}
