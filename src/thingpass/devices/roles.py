"""What a user may be, in ThingsBoard's words (REST reference, 0)."""

from __future__ import annotations

from typing import Final

SYS_ADMIN: Final = "SYS_ADMIN"
TENANT_ADMIN: Final = "TENANT_ADMIN"
CUSTOMER_USER: Final = "CUSTOMER_USER"

AUTHORITIES: Final = (SYS_ADMIN, TENANT_ADMIN, CUSTOMER_USER)
