"""The project's URLs."""

from django.contrib import admin
from django.urls import path
from photos.views import PhotoCreate, PhotoDetail

urlpatterns = [
    path("", PhotoCreate.as_view(), name="photo-create"),
    path("photos/<int:pk>/", PhotoDetail.as_view(), name="photo-detail"),
    path("admin/", admin.site.urls),
]
