"""Repositories of the tests' hub: names, and files that nobody reads."""

CLIP = "openai/clip-vit-base-patch32"
FILES = {"config.json": b"{}", "model.safetensors": b"weights", "pytorch_model.bin": b"the same"}
TAG = "ViT-B-16-SigLIP2-256/webli"
TAG_REPOSITORY = "timm/ViT-B-16-SigLIP2-256"
TAG_FILES = {
    "open_clip_config.json": b"{}",
    "open_clip_model.safetensors": b"weights",
    "open_clip_pytorch_model.bin": b"the same",
    "tokenizer.json": b"{}",
}
SECRET = "hf_notToBeShown"
