// Tags photos with clip-worker: `node index.js cat.jpg cat dog`, or the URL of a photo.
// SCORE=sigmoid gives each label a probability by itself.
"use strict";

const { createHash, createHmac } = require("node:crypto");
const { readFile, stat } = require("node:fs/promises");
const { createClient } = require("celery-node");

const REDIS_URL = process.env.REDIS_URL || "redis://localhost:6379/0";
const QUEUE = "clip"; // the queue that clip-worker reads; celery-node's default is `celery`
const MAX_BYTES = 1_000_000; // of a file; in its message it takes 1.8 times as much
const MAX_WAITING = 500; // messages in the queue
const EXPIRES_MS = 60_000; // a photo that waits longer fails instead of running
const SIGNING_KEY = process.env.SIGNING_KEY; // the first of the workers' CLIP_WORKER_SIGNING_KEYS
const SCORE = process.env.SCORE || "softmax";

async function main(photo, ...labels) {
  const client = createClient(REDIS_URL, REDIS_URL, QUEUE);
  if (SIGNING_KEY) signMessages(client, SIGNING_KEY);
  try {
    await client.isReady();
    const result = await tag(client, photo, labels);
    console.log(JSON.stringify(result.predictions));
  } catch (error) {
    process.exitCode = 1;
    console.error(describe(error));
  } finally {
    await client.disconnect();
  }
}

async function tag(client, photo, labels) {
  if ((await client.broker.redis.llen(QUEUE)) >= MAX_WAITING) {
    throw new Error("Many photos are waiting; try again later.");
  }
  const image = photo.includes("://") ? photo : await dataUri(photo);
  const deadline = (Date.now() + EXPIRES_MS) / 1000;
  const task = client.createTask("clip.classify");
  const sent = task.applyAsync([], { image, labels, k: 3, score: SCORE, deadline });
  return sent.get(2 * EXPIRES_MS, 100); // in milliseconds: the longest wait, and between two looks
}

// Every message that the client sends from now on gets the header `clip_signature`.
function signMessages(client, key) {
  const hash = (text) => createHash("sha256").update(text).digest("hex");
  const send = client.sendTaskMessage.bind(client);
  client.sendTaskMessage = (task, message) => {
    const { headers, body } = message;
    const at = Date.now() / 1000;
    const sha256 = hash(JSON.stringify(body));
    const signed = JSON.stringify({ at, queue: QUEUE, sha256, headers });
    const mac = createHmac("sha256", Buffer.from(key, "hex")).update(signed).digest("hex");
    headers.clip_signature = { key: hash(key).slice(0, 8), signed, mac };
    send(task, message);
  };
}

async function dataUri(path) {
  const { size } = await stat(path);
  if (size > MAX_BYTES) {
    throw new Error(`${path} has ${size} bytes; at most ${MAX_BYTES} are allowed.`);
  }
  const bytes = await readFile(path);
  return `data:application/octet-stream;base64,${bytes.toString("base64")}`;
}

// A failed task's promise is rejected with `FAILURE` and the fields of Celery's result. The message
// ends with a stable code in brackets: "… the server answered 404. [FETCH_404]".
function describe(error) {
  // Otherwise it is `TIMEOUT` of get(), or an error of this program.
  return error.exc_type ? `${error.exc_type}: ${error.exc_message}` : error.message;
}

main(...process.argv.slice(2));
