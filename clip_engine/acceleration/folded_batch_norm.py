"""Folds a ResNet's batch norms into the convolutions before them.

In evaluation a batch norm multiplies each channel by a constant and adds another (Ioffe and Szegedy
2015, section 3.1), which the convolution can do with its weights and a bias.
"""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# A convolution's name and its norm's: of the stem and of bottlenecks, and of a shortcut.
_PAIRS = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1"))


def fold_batch_norms(encoder: nn.Module) -> None:
    """Remove them in place; a ViT, which has none, stays as it is."""
    for parent in list(encoder.modules()):
        for convolution, name in _PAIRS:
            norm = getattr(parent, name, None)
            if isinstance(norm, nn.BatchNorm2d):
                fused = fuse_conv_bn_eval(getattr(parent, convolution), norm)
                setattr(parent, convolution, fused)
                setattr(parent, name, nn.Identity())
