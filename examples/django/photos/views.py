"""A form for uploads, and a page with what became of one."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpResponse, JsonResponse
from django.views.generic import CreateView, DetailView

from photos.models import Photo


class PhotoCreate(CreateView):
    """Upload a photo."""

    model = Photo
    fields = ("file",)

    def form_valid(self, form) -> HttpResponse:  # noqa: ANN001
        """Store it, unless too many wait already."""
        if Photo.objects.filter(state=Photo.State.NEW).count() >= settings.PHOTO_MAX_UNTAGGED:
            form.add_error(None, ValidationError("Many photos are waiting; try again later."))
            return self.form_invalid(form)
        return super().form_valid(form)


class PhotoDetail(DetailView):
    """What a photo shows, as JSON."""

    model = Photo

    def render_to_response(self, context: dict, **_: object) -> HttpResponse:
        """For a script on the page that asks now and then."""
        photo = context["photo"]
        return JsonResponse(
            {"state": photo.state, "label": photo.label, "probability": photo.probability}
        )
