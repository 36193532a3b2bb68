"""The application's configuration."""

from django.apps import AppConfig


class PhotosConfig(AppConfig):
    """Connects the signals."""

    name = "photos"

    def ready(self) -> None:
        """Importing the module connects its receivers."""
        from photos import signals  # noqa: F401  # not before the models are loaded
