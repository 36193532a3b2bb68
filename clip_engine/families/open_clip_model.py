"""Builds open_clip's model of a config and fills it with the weights of a file.

Nothing is downloaded and no code of a model's folder is run: the weights are read by
`clip_engine.formats`, and no tower is initialised from pretrained weights of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from clip_engine.errors import CheckpointError
from clip_engine.families.extra import open_clip
from clip_engine.model.state_dict_diff import name_problems

# Of text towers: older versions of transformers stored what is computed now.
COMPUTED = (
    "text.transformer.embeddings.position_ids",
    "text.transformer.embed_positions.weights",
)


# Draw the random numbers that weights start from.
RANDOM = frozenset(
    {
        *(Tensor.normal_, Tensor.uniform_, Tensor.erfinv_),
        *(init.normal_, init.uniform_, init.trunc_normal_),
        *(init.xavier_normal_, init.xavier_uniform_, init.kaiming_normal_, init.kaiming_uniform_),
    }
)


def build_model(
    architecture: Mapping[str, Any], state: dict[str, Tensor], source: Path
) -> tuple[nn.Module, bool]:
    """The model, in float32, on the CPU, in eval mode.

    Args:
        architecture: `model_cfg`; `hf_model_name` must be a local folder.
        state: The weights by their names in the file, of any float dtype.
        source: Where the weights are from, for messages.

    Returns:
        The model, and whether the weights have a logit bias.

    Raises:
        CheckpointError: open_clip can't build the architecture, or the weights don't fit it.
    """
    model = empty_model(architecture, source)
    biased = "logit_bias" in state
    _load(model, _converted(model, state), source)
    return model.eval().requires_grad_(requires_grad=False), biased


def empty_model(architecture: Mapping[str, Any], source: Path) -> nn.Module:
    """Build an architecture without setting its weights; arguments are those of `build_model`.

    Raises:
        CheckpointError: open_clip can't build it.
    """
    config = copy.deepcopy(dict(architecture))
    vision, text = config["vision_cfg"], config["text_cfg"]
    from_transformers = "hf_model_name" in text
    _check_tower_name(vision.get("timm_model_name"), source)
    vision["timm_model_pretrained"] = False
    text["hf_model_pretrained"] = False
    kind = open_clip().CLIP
    if config.pop("custom_text", False) or from_transformers:
        kind = open_clip().CoCa if "multimodal_cfg" in config else open_clip().CustomTextCLIP
    try:
        with _Uninitialised():
            model: nn.Module = kind(**config)
    except Exception as error:  # whatever open_clip, timm and transformers raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"open_clip {open_clip().__version__} can't build the model that the config of "
            f"{str(source)!r} describes ({reason}); update open_clip_torch and timm, or check the "
            "config."
        ) from error
    return model


class _Uninitialised(TorchFunctionMode):
    """Leaves weights as they are allocated: drawing them takes seconds, and a file has them all."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in RANDOM:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **kwargs or {})


def _check_tower_name(name: object, source: Path) -> None:
    """Timm downloads a model whose name has a scheme, such as `hf-hub:user/model`."""
    if name is not None and ":" in str(name):
        raise CheckpointError(
            f"The config of {str(source)!r} names the image tower {name!r}, which timm would "
            "download; give a model whose config names one of timm's architectures."
        )


def _converted(model: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights by the model's names: older and Apple's layouts are converted to today's."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    state = dict(convert_state_dict(model, state))
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for name in set(COMPUTED) - model.state_dict().keys():
        state.pop(name, None)
    for name in ("logit_scale", "logit_bias"):  # a number, or a list of one
        if name in state and getattr(model, name, None) is not None:
            state[name] = state[name].reshape(getattr(model, name).shape)
    if model.logit_bias is not None and "logit_bias" not in state:  # trained with softmax
        state["logit_bias"] = model.logit_bias.detach() * 0
    return state


def _load(model: nn.Module, state: dict[str, Tensor], source: Path) -> None:
    wanted = model.state_dict()
    wrong_shapes = [
        f"{name}: {tuple(state[name].shape)} for {tuple(wanted[name].shape)}"
        for name in wanted.keys() & state.keys()
        if wanted[name].shape != state[name].shape
    ]
    problems = name_problems(wanted.keys() - state.keys(), state.keys() - wanted, wrong_shapes)
    if problems:
        raise CheckpointError(
            f"The weights in {str(source)!r} don't fit the architecture of their config: "
            f"{problems}; use the two files of one model."
        )
    model.load_state_dict(state)
