// Search by text or by a picture, where the worker keeps embeddings.

import { RequestError } from "./server.js";

const part = (id) => document.getElementById(id);

/**
 * @param grid What shows the pictures that were found.
 * @param connection What knows the gallery.
 * @param onShown Called when other pictures are shown than before.
 */
export class Search {
  constructor({ grid, connection, onShown }) {
    Object.assign(this, { grid, connection, onShown });
    this.text = ""; // what is said of the pictures that were found
    part("search").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = part("search-text").value.trim();
      if (text) this.find({ text }, `“${text}”`);
      else this.clear();
    });
    part("search-text").addEventListener("input", ({ target }) => target.value || this.clear());
  }

  /** Show the field, if searching is possible. */
  offer(hasSearch) {
    part("search").hidden = part("similar").hidden = !hasSearch;
  }

  like(picture) {
    part("search-text").value = "";
    return this.find({ picture: picture.id }, picture.name);
  }

  async find(query, name) {
    this.text = `Searching for ${name}`;
    this.onShown();
    try {
      const start = performance.now();
      const { hits } = await this.connection.gallery.search(query);
      const took = Math.round(performance.now() - start);
      const found = hits.filter(({ picture }) => this.grid.pictures.has(picture));
      this.forget();
      this.grid.show(found.map(({ picture }) => this.grid.pictures.get(picture)));
      for (const { picture, cosine } of found) this.grid.pictures.get(picture).match(cosine);
      this.text = `${found.length} nearest to ${name}, found in ${took} ms`;
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      this.clear();
      this.text = error.message;
    }
    this.onShown();
  }

  /** Show all pictures again. */
  clear() {
    if (!this.text) return;
    part("search-text").value = "";
    this.forget();
    this.grid.show();
    this.onShown();
  }

  forget() {
    this.text = "";
    for (const picture of this.grid.pictures.values()) picture.match(null);
  }
}
