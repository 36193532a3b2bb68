// The tags of a picture, as bars. Labels are text, whoever wrote them.

const percent = (probability) => `${Math.round(100 * probability)} %`;

function row() {
  const element = document.createElement("span");
  element.className = "tag";
  for (const name of ["label", "value", "bar"]) {
    const part = document.createElement("span");
    part.className = name;
    element.append(part);
  }
  return element;
}

/** Show tags in an element that has rows of tags or none; rows are reused, so that bars move. */
export function showTags(parent, tags, most) {
  const shown = tags.slice(0, most);
  while (parent.children.length < shown.length) parent.append(row());
  while (parent.children.length > shown.length) parent.lastChild.remove();
  shown.forEach(([label, probability], index) => {
    const [name, value, bar] = parent.children[index].children;
    name.textContent = label;
    value.textContent = percent(probability);
    bar.style.setProperty("--part", probability.toFixed(4));
  });
}
