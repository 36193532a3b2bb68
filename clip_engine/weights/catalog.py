"""The nine CLIP models that OpenAI published, with their URLs and checksums.

From openai/CLIP, `clip/clip.py`, where the SHA-256 is part of each URL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

PUBLISHER_URL = "https://openaipublic.azureedge.net/clip/models"


@dataclass(frozen=True, slots=True)
class Published:
    """A model's weights as published.

    Attributes:
        name: Such as `ViT-B/32`.
        url: Of the file.
        sha256: Of the file, 64 hex digits in lower case.
        input_resolution: Side of the square input, in pixels.
    """

    name: str
    url: str
    sha256: str
    input_resolution: int

    @property
    def filename(self) -> str:
        """The file's name at the publisher and in the cache."""
        return self.url.rpartition("/")[2]

    def mirrored(self, mirror: str) -> str:
        """The file's URL at a mirror, which has the publisher's layout, `<sha256>/<file>`."""
        return f"{mirror.rstrip('/')}/{self.sha256}/{self.filename}"


def _openai(name: str, sha256: str, input_resolution: int) -> Published:
    filename = name.replace("/", "-").replace("@", "-") + ".pt"
    return Published(name, f"{PUBLISHER_URL}/{sha256}/{filename}", sha256, input_resolution)


_OPENAI = (
    _openai("RN50", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762", 224),
    _openai("RN101", "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599", 224),
    _openai("RN50x4", "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd", 288),
    _openai("RN50x16", "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa", 384),
    _openai("RN50x64", "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c", 448),
    _openai("ViT-B/32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", 224),
    _openai("ViT-B/16", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", 224),
    _openai("ViT-L/14", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836", 224),
    _openai(
        "ViT-L/14@336px", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02", 336
    ),
)

# By name, in OpenAI's order.
PUBLISHED: Mapping[str, Published] = MappingProxyType({each.name: each for each in _OPENAI})
