"""The demo: a small drawn world, the CLIP model that was trained on it, and pictures to try it on.

Nothing here needs torch. The weights are in `demo.pt`; `MODEL_CARD.md` tells what they can do.
"""

from clip_engine.demo.pictures import DemoPicture, demo_pictures, draw_demo_pictures

__all__ = ["DemoPicture", "demo_pictures", "draw_demo_pictures"]
