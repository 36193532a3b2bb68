"""Makes the towers faster without changing what they compute; each piece can be left out.

The model in `clip_engine.model` is the plain implementation and the oracle of every piece. A piece
replaces some of its modules or steps by others that give the same result to within rounding.
"""

from clip_engine.acceleration.accelerate import accelerate
from clip_engine.acceleration.pieces import AROUND_THE_MODEL, PLAIN, Acceleration

__all__ = ["AROUND_THE_MODEL", "PLAIN", "Acceleration", "accelerate"]
