"""What commands of the client know of the settings, which only the worker can load."""

ENV_PREFIX = "CLIP_WORKER_"
OBJECT_STORE_SCHEMES = ("s3", "gs", "az")  # the default of CLIP_WORKER_OBJECT_STORE_SCHEMES
