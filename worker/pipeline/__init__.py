"""From a request for one image to its result: fetch, decode, batch, score."""
