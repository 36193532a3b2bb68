// The page: puts the parts together.

import { Connection } from "./connection.js";
import { Details } from "./details.js";
import { acceptDrops } from "./drops.js";
import { Grid } from "./grid.js";
import { Labels } from "./labels.js";
import { Notice } from "./notice.js";
import { Picture } from "./picture.js";
import { Search } from "./search.js";
import { readOptions, RequestError } from "./server.js";
import { Retagging } from "./retagging.js";
import { Uploads } from "./uploads.js";

const part = (id) => document.getElementById(id);
const notice = new Notice(part("notice"));
const grid = new Grid(part("pictures"), { onOpen: (each) => details.open(each), onRemove: remove });
const labels = new Labels(
  {
    field: part("chip-field"),
    list: part("chips"),
    input: part("label-input"),
    select: part("label-sets"),
  },
  relabel,
);
const connection = new Connection({
  onNews: update,
  onOpen: fill,
  onTrouble: (sentence) => notice.set("connection", sentence),
});
const search = new Search({ grid, connection, onShown: showStatus });
const details = new Details(grid, { onRemove: remove, onSimilar: (each) => search.like(each) });
const retagging = new Retagging();
const options = await firstOptions();
const uploads = new Uploads(connection, options.max_upload_bytes, {
  onFailed: (picture, sentence) => {
    picture.answer({ sentence });
    showStatus();
  },
  onTrouble: (sentence) => notice.set("uploads", sentence),
});

async function firstOptions() {
  for (;;) {
    try {
      const found = await readOptions();
      notice.set("connection", "");
      return found;
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      notice.set("connection", error.message);
      await new Promise((resolve) => setTimeout(resolve, 1500));
    }
  }
}

/** Tell a new gallery of the server what this page has. */
async function fill(gallery) {
  retagging.revision = 0;
  await sendLabels(gallery);
  uploads.waiting = [];
  const left = [...grid.pictures.values()].filter(({ revision }) => revision !== Infinity);
  for (const picture of left) picture.revision = 0;
  uploads.add(left);
}

function add(sources) {
  const room = options.max_pictures - grid.pictures.size;
  const most = options.max_pictures.toLocaleString("en");
  const leftOut = sources.length - room;
  const more = leftOut === 1 ? "1 more was" : `${leftOut.toLocaleString("en")} more were`;
  const full = `A gallery has at most ${most} pictures. ${more} left out.`;
  notice.set("room", leftOut > 0 ? full : "");
  const pictures = sources.slice(0, room).map(({ name, ...source }) => new Picture(name, source));
  if (!pictures.length) return;
  search.clear();
  grid.add(pictures);
  uploads.add(pictures);
  showStatus();
}

const addFiles = (files) => add([...files].map((file) => ({ name: file.name, file })));
const addUrl = (url) => add([{ name: url, url }]);

function remove(picture) {
  grid.remove(picture);
  connection.gallery?.remove(picture.id).catch(() => {}); // it expires
  showStatus();
}

function relabel() {
  for (const picture of grid.pictures.values()) picture.outdate();
  retagging.begin(grid.pictures.size);
  showStatus();
  sendLabels(connection.gallery);
}

async function sendLabels(gallery) {
  if (!gallery) return; // it is told when it is open
  try {
    const { revision } = await gallery.relabel(labels.request);
    retagging.revision = Math.max(retagging.revision, revision);
    notice.set("labels", "");
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    notice.set("labels", error.message);
    if (error.isTemporary) setTimeout(() => sendLabels(connection.gallery), 1500);
  }
}

function update({ revision, trouble, search: canSearch, answers }) {
  if (canSearch) search.offer(true);
  notice.set("server", trouble);
  retagging.revision = Math.max(retagging.revision, revision);
  for (const [id, answer] of Object.entries(answers)) {
    const picture = grid.pictures.get(id);
    if (!picture || (answer.revision < retagging.revision && !answer.code)) continue;
    if (answer.code === "UPLOAD_NOT_FOUND" && uploads.resend(picture)) continue;
    picture.answer(answer);
    if (details.picture === picture) details.update();
  }
  retagging.check(grid.pictures.values());
  showStatus();
}

function showStatus() {
  const all = [...grid.pictures.values()];
  const waiting = all.filter(({ element }) => element.classList.contains("waiting")).length;
  part("welcome").hidden = all.length > 0;
  part("empty").hidden = all.length === 0;
  part("clear").hidden = !search.text;
  labels.count(all);
  const status = search.text || retagging.describe(all.length, waiting);
  if (part("status").textContent !== status) part("status").textContent = status;
}

async function addSamples() {
  part("samples").disabled = true;
  try {
    const files = await Promise.all(
      options.samples.map(async (name) => {
        const response = await fetch(`static/samples/${name}`);
        return new File([await response.blob()], name, { type: "image/webp" });
      }),
    );
    addFiles(files);
  } catch {
    notice.set("room", "The sample pictures can't be loaded. Try again.");
  }
  part("samples").disabled = false;
}

part("choose").addEventListener("click", () => part("files").click());
part("files").addEventListener("change", ({ target }) => {
  addFiles(target.files);
  target.value = ""; // so that the same file may be chosen again
});
part("url-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const url = part("url").value.trim();
  if (url) addUrl(url);
  part("url").value = "";
});
part("samples").addEventListener("click", addSamples);
part("empty").addEventListener("click", () => {
  search.clear();
  for (const picture of [...grid.pictures.values()]) remove(picture);
  part("choose").focus();
});
part("clear").addEventListener("click", () => {
  search.clear();
  grid.current?.card.focus();
});
acceptDrops(part("drop"), { onFiles: addFiles, onUrl: addUrl });
addEventListener("pagehide", () => connection.close());
addEventListener("pageshow", ({ persisted }) => persisted && connection.open());

labels.offer(options.suggestions, options.label_sets);
search.offer(false);
showStatus();
await connection.open();
