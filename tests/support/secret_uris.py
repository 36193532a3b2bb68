"""URIs with a secret in each place where one may stand, well formed and not."""

from __future__ import annotations

SECRET = "s3cr3tTOKEN"

# Signed as object stores sign; a worker fetches these.
SIGNED = f"?X-Amz-Signature={SECRET}&X-Amz-Credential=%2F{SECRET}#{SECRET}"

# Each fails by its spelling, and must be shown without the secret.
MALFORMED = [
    f"https://user:{SECRET}@example.com/cat.jpg",
    f"https://{SECRET}@example.com/cat.jpg",
    f"https://user:{SECRET}@example.com:8443/cat.jpg{SIGNED}",
    f"https://us@er:{SECRET}@example.com/cat.jpg",
    f"https://user:{SECRET}/{SECRET}@example.com/cat.jpg",
    f"https://user:{SECRET}?{SECRET}@example.com/cat.jpg",
    f"https://user:{SECRET}#{SECRET}@example.com/cat.jpg",
    f"https://user:{SECRET}\\{SECRET}@example.com/cat.jpg",
    f"https://user\\:{SECRET}@example.com/cat.jpg",
    f"https:user:{SECRET}@example.com/cat.jpg",
    f"https:/user:{SECRET}@example.com/cat.jpg",
    f"https:///user:{SECRET}@example.com/cat.jpg",
    f"https:\\\\user:{SECRET}@example.com\\cat.jpg",
    f"//user:{SECRET}@example.com/cat.jpg",
    f"user:{SECRET}@example.com/cat.jpg",
    f"{SECRET}@example.com/cat.jpg",
    f"https://user:{SECRET}%40example.com/cat.jpg",
    f"https://user:{SECRET}%2540example.com/cat.jpg",
    f"https://user:{SECRET}\uff20example.com/cat.jpg",
    f"https://user:{SECRET}\ufe6bexample.com/cat.jpg",
    f"https://user:{SECRET} {SECRET}@example.com/cat.jpg",
    f"https://user:\t{SECRET}@example.com/cat.jpg",
    f"https://user:{SECRET}\n@example.com/cat.jpg",
    f"ht tps://user:{SECRET}@example.com/cat.jpg",
    f"HTTPS://user:{SECRET}@EXAMPLE.COM/cat.jpg",
    f"https://user:{SECRET}@[::1/cat.jpg",
    f"https://user:{SECRET}@[::1]:99999/cat.jpg",
    f"https://user:{SECRET}@/cat.jpg",
    f"https://example.com:{SECRET}/cat.jpg",
    f"https://[{SECRET}@example.com/cat.jpg",
    f"https://[::1{SIGNED}",
    f"https://exa mple.com/cat.jpg{SIGNED}",
    f"https://example.com:99999/cat.jpg{SIGNED}",
    f"https://2130706433/cat.jpg{SIGNED}",
    f"https://example.com/c\\at.jpg{SIGNED}",
    f"https://example.com/https://user:{SECRET}@example.org/c at.jpg",
    f"https://example.com/{'x' * 9000}{SIGNED}",
    f"gopher://user:{SECRET}@example.com/cat.jpg{SIGNED}",
    f"ftp://example.com/cat.jpg{SIGNED}",
    f"file:///data/cat.jpg{SIGNED}",
    f"file://user:{SECRET}@example.com/cat.jpg",
    f"redis://user:{SECRET}@uploads/{'0' * 64}",
    f"redis://uploads/{'0' * 64}{SIGNED}",
    f"cat.jpg{SIGNED}",
    f"/data/cat.jpg{SIGNED}",
    f"data:{SECRET}",
    f"DATA:image/png;base64;{SECRET}",
    f"data:image/png;name={SECRET}",
    f"data:image/png;base64,!{SECRET}!",
]
