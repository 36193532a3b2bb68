"""CLIP behind LitServe, with batches, as LitServe's documentation suggests."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import litserve as ls
import open_clip
import torch
from PIL import Image
from torch import Tensor

GIVEN = json.loads(os.environ["BENCH_LIT_SERVER"])  # `LitServe.given`


class Classify(ls.LitAPI):
    """The five most probable labels of an image."""

    def setup(self, device: str) -> None:
        """Load the model, and encode the labels once."""
        torch.set_num_threads(GIVEN["threads"])
        name, labels = GIVEN["architecture"], [f"a photo of a {each}." for each in GIVEN["labels"]]
        self.model, _, self.preprocess = open_clip.create_model_and_transforms(
            name, pretrained=GIVEN["state_dict"], device=device
        )
        self.model.eval()
        with torch.inference_mode():
            texts = self.model.encode_text(open_clip.get_tokenizer(name)(labels), normalize=True)
            self.texts = self.model.logit_scale.exp() * texts.T  # [D, L]

    def decode_request(self, request: dict[str, str]) -> Tensor:
        """Decode and resize the file to `[3, R, R]`."""
        pixels: Tensor = self.preprocess(Image.open(request["image"]))
        return pixels

    def predict(self, pixels: Tensor) -> Tensor:
        """Map `[B, 3, R, R]` to probabilities `[B, L]`."""
        with torch.inference_mode():
            logits: Tensor = self.model.encode_image(pixels, normalize=True) @ self.texts
            return logits.softmax(dim=-1)

    def encode_response(self, chances: Tensor) -> dict[str, float]:
        """The best of `[L]` probabilities by their labels."""
        best: Any = chances.topk(5)
        return dict(
            zip([GIVEN["labels"][i] for i in best.indices], best.values.tolist(), strict=True)
        )


if __name__ == "__main__":
    api = Classify(max_batch_size=GIVEN["batch"], batch_timeout=GIVEN["wait_s"])
    server = ls.LitServer(
        api, accelerator="cpu", workers_per_device=GIVEN["workers"], timeout=False
    )
    port = int(sys.argv[1])
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)
