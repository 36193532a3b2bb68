"""The text tower's forward pass, with beginnings that texts share computed only once.

The attention mask is causal, so a token's activations depend on itself and the tokens before it
only. The texts therefore form a prefix tree (`a photo of a` is shared, each label branches off),
and one row for each node is enough. All layers but attention work on single rows; for attention
each text's rows are gathered. Nothing after a text's end mark is computed.
Axes: L texts, T tokens of the longest, N nodes, W width, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from clip_engine.model import CLIP
from clip_engine.model.transformer import ResidualAttentionBlock


@dataclass(frozen=True)
class PrefixTree:
    """The distinct prefixes of several texts, each a node.

    Attributes:
        tokens: int64 `[N]`, the last token of each prefix.
        depths: int64 `[N]`, the number of tokens before it.
        rows: int64 `[L, T]`, the node at each position of each text; arbitrary after its end.
        places: int64 `[N]`, one position of each node in `rows`, flattened.
        ends: int64 `[L]`, the node of each text's end mark.
    """

    tokens: Tensor
    depths: Tensor
    rows: Tensor
    places: Tensor
    ends: Tensor

    @classmethod
    def of(cls, tokens: Tensor) -> PrefixTree:
        """Build the tree.

        >>> tree = PrefixTree.of(torch.tensor([[1, 5, 9, 0], [1, 5, 6, 9]]))
        >>> tree.tokens.tolist(), tree.depths.tolist(), tree.ends.tolist()
        ([1, 5, 9, 6, 9], [0, 1, 2, 2, 3], [2, 4])
        >>> tree.rows.tolist()
        [[0, 1, 2, 0], [0, 1, 3, 4]]

        Args:
            tokens: int64 `[L, T]` on the CPU, zeros after the end mark, which is the largest token
                number.
        """
        lengths = [end + 1 for end in tokens.argmax(dim=-1).tolist()]
        longest = max(lengths)
        nodes: dict[tuple[int, int], int] = {}  # by parent node and token
        depths: list[int] = []
        places: list[int] = []
        rows = torch.zeros(len(lengths), longest, dtype=torch.int64)
        ends: list[int] = []
        for i, (text, length) in enumerate(zip(tokens.tolist(), lengths, strict=True)):
            path: list[int] = []
            node = -1
            for depth, token in enumerate(text[:length]):
                key = (node, token)
                node = nodes.setdefault(key, len(nodes))
                if node == len(places):  # a new one
                    depths.append(depth)
                    places.append(i * longest + depth)
                path.append(node)
            rows[i, :length] = torch.tensor(path)
            ends.append(node)
        return cls(
            torch.tensor([token for _, token in nodes]),
            torch.tensor(depths),
            rows,
            torch.tensor(places),
            torch.tensor(ends),
        )

    def to(self, device: torch.device) -> PrefixTree:
        """A copy on another device."""
        return PrefixTree(
            *(x.to(device) for x in (self.tokens, self.depths, self.rows, self.places, self.ends))
        )


def encode_text(model: CLIP, tokens: Tensor) -> Tensor:
    """Equivalent of `model.encode_text`, to within rounding.

    Args:
        model: On any device.
        tokens: `[L, T]` int64 on the CPU, as `model.encode_text` takes them.

    Returns:
        Features `[L, D]` on the model's device, not normalised.
    """
    tree = PrefixTree.of(tokens).to(model.positional_embedding.device)
    x = model.token_embedding(tree.tokens) + model.positional_embedding[tree.depths]  # [N, W]
    for block in model.transformer.resblocks:
        x = _through(cast("ResidualAttentionBlock", block), x, tree)
    return model.ln_final(x[tree.ends]) @ model.text_projection  # type: ignore[no-any-return]  # [L, D]


def _through(block: ResidualAttentionBlock, x: Tensor, tree: PrefixTree) -> Tensor:
    """One resblock, `[N, W]` to `[N, W]`."""
    attention = block.attn
    stacked = attention.project(block.ln_1(x))  # [N, 3W]
    mixed = attention.mix(stacked[tree.rows])  # [L, T, 3W] -> [L, T, W]
    x = x + attention.out_proj(mixed.flatten(0, 1)[tree.places])  # [L T, W] -> [N, W]
    return x + block.mlp(block.ln_2(x))  # type: ignore[no-any-return]  # Module.__call__ is Any
