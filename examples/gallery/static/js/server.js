// Requests to the server. Each is one of this tab's gallery, which the server may have lost.

/** A failed request: `status` of HTTP, 0 if the server can't be reached; `message` for people. */
export class RequestError extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }

  /** Whether the same request may succeed later. */
  get isTemporary() {
    return this.status === 0 || this.status === 503;
  }
}

const SENTENCES = {
  0: "The server can't be reached. The gallery goes on as soon as it answers.",
  413: "The file is too large. Make it smaller.",
};

async function request(method, path, body, headers = {}) {
  let response;
  try {
    response = await fetch(path, { method, body, headers, credentials: "omit" });
  } catch {
    throw new RequestError(0, SENTENCES[0]);
  }
  const answer = await response.json().catch(() => null); // a proxy's page is not JSON
  if (response.ok) return answer;
  const known = answer?.sentence ?? SENTENCES[response.status];
  throw new RequestError(
    response.status,
    known ?? `The server answered with status ${response.status}.`,
  );
}

const json = (method, path, value) =>
  request(method, path, JSON.stringify(value), { "Content-Type": "application/json" });

export const readOptions = () => request("GET", "options");
export const openGallery = async () => (await request("POST", "galleries")).id;

/** The requests of one gallery. */
export class Gallery {
  constructor(id) {
    this.path = `galleries/${id}`;
  }

  put(picture) {
    const path = `${this.path}/pictures/${picture.id}`;
    return picture.url
      ? json("PUT", `${path}/url`, { url: picture.url })
      : request("PUT", path, picture.blob, { "Content-Type": "application/octet-stream" });
  }

  remove(id) {
    return request("DELETE", `${this.path}/pictures/${id}`);
  }

  relabel(labels) {
    return json("PUT", `${this.path}/labels`, labels);
  }

  search(query) {
    return json("POST", `${this.path}/search`, query);
  }

  close() {
    // `keepalive`: the page may be gone before the request is sent.
    return fetch(this.path, { method: "DELETE", keepalive: true }).catch(() => {});
  }
}
