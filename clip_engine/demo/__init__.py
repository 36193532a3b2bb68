"""The demo model, and the world of drawn shapes that it knows."""
