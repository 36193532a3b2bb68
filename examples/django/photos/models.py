"""A photo, its labels, and how far tagging it has come."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files import File
from django.core.validators import FileExtensionValidator
from django.db import models
from django.urls import reverse


def check_size(file: File) -> None:
    """Refuse a large file."""
    if file.size > settings.PHOTO_MAX_BYTES:
        raise ValidationError(f"A photo may have at most {settings.PHOTO_MAX_BYTES} bytes.")


class Photo(models.Model):
    """An uploaded file; the worker looks into it, the web process never does.

    Hence a `FileField`: an `ImageField` would have Pillow open what strangers send.
    """

    class State(models.TextChoices):
        """What has become of it."""

        NEW = "new"
        TAGGED = "tagged"
        FAILED = "failed"

    file = models.FileField(
        upload_to="photos/%Y/%m/",
        validators=[FileExtensionValidator(settings.PHOTO_EXTENSIONS), check_size],
    )
    state = models.CharField(max_length=10, choices=State, default=State.NEW, editable=False)
    label = models.CharField(max_length=200, blank=True, editable=False)
    probability = models.FloatField(null=True, editable=False)
    error = models.CharField(max_length=100, blank=True, editable=False)
    uploaded_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.file.name

    def get_absolute_url(self) -> str:
        """The page with its label."""
        return reverse("photo-detail", args=[self.pk])
