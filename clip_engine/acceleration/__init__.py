"""Optional optimisations that make both encoders faster without changing what they compute.

`clip_engine.model` is the plain implementation. Each optimisation replaces some of its modules or
steps with equivalents that give the same result to within rounding, and is tested against it.
"""

from clip_engine.acceleration.options import AROUND_THE_MODEL, PLAIN, Acceleration, accelerate

__all__ = ["AROUND_THE_MODEL", "PLAIN", "Acceleration", "accelerate"]
