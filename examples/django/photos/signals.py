"""A photo that was uploaded is queued, wherever that was: form, admin, shell."""

from functools import partial

from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver

from photos.models import Photo
from photos.tasks import classify


@receiver(post_save, sender=Photo)
def queue_new_photo(*, instance: Photo, created: bool, **_: object) -> None:
    """Queue it once its row can be seen by other processes."""
    if created:
        transaction.on_commit(partial(classify.delay, instance.pk))
