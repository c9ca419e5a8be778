"""The states of a call that is kept (persistent RPC), with ThingsBoard's names."""

from __future__ import annotations

import enum


class RpcStatus(enum.StrEnum):
    """What became of a kept call so far.

    A one-way call has ended when it is DELIVERED, a two-way call when it is SUCCESSFUL.
    """

    QUEUED = "QUEUED"  # waits for its device
    SENT = "SENT"  # written to the device, which has not acknowledged it
    DELIVERED = "DELIVERED"  # acknowledged
    SUCCESSFUL = "SUCCESSFUL"  # answered
    TIMEOUT = "TIMEOUT"  # not acknowledged in time; sent again when the device subscribes the next time
    EXPIRED = "EXPIRED"  # its time was over before it was delivered, or answered
    FAILED = "FAILED"  # the device refused it, or it was sent too often without an acknowledgement
    DELETED = "DELETED"  # withdrawn; the row is gone, so nobody reads this
