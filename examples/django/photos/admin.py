"""Photos in the admin, with an action that tags them again."""

from functools import partial

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from photos.models import Photo
from photos.tasks import classify


@admin.register(Photo)
class PhotoAdmin(admin.ModelAdmin):
    """A list of photos with their labels."""

    list_display = ("file", "state", "label", "probability", "error", "uploaded_at")
    list_filter = ("state", "label")
    readonly_fields = ("state", "label", "probability", "error")
    actions = ("classify_again",)

    @admin.action(description="Tag the selected photos again")
    def classify_again(self, request: HttpRequest, photos: QuerySet[Photo]) -> None:
        """Queue them, perhaps with other labels in the settings than before."""
        ids = list(photos.values_list("pk", flat=True))
        photos.update(state=Photo.State.NEW, label="", probability=None, error="")
        for photo_id in ids:
            transaction.on_commit(partial(classify.delay, photo_id))
        self.message_user(request, f"Queued {len(ids)} photos.")
