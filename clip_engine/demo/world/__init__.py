"""The drawn world that the demo model knows: scenes, their images and their captions."""
