"""Tenants: whose message it is, so that the customers of one queue take turns.

Any producer names the tenant of a message in the header `clip_tenant`; docs/fairness.md says what
follows from it.
"""

from __future__ import annotations

import re

TENANT_HEADER = "clip_tenant"
TENANT_REMEDY = "1 to 64 letters, digits and characters of '-_.:@/+='"

_TENANT = re.compile(r"[A-Za-z0-9\-_.:@/+=]{1,64}")


def is_tenant(value: object) -> bool:
    """Whether a value names a tenant.

    >>> is_tenant("org:42"), is_tenant("Müller"), is_tenant("")
    (True, False, False)
    """
    return isinstance(value, str) and bool(_TENANT.fullmatch(value))
