"""A device made with ThingsBoard's own HTTP class, as a program: `tb_http_device.py URL TOKEN`.

Prints a line when it waits for changes and calls, and at the end one JSON object of what each call returned.
Run with the library's directory first on the path.
"""

import json
import queue
import sys
import threading
import time
from typing import Any

from tb_device_http import TBHTTPDevice

PATIENCE_S = 20.0


def main(url: str, token: str) -> dict[str, Any]:
    device = TBHTTPDevice(url, token, "tb-http")
    done: dict[str, Any] = {"connected": device.connect()}
    device.send_telemetry({"temperature": 41.9, "enabled": False}, queued=False)
    device.send_attributes({"model": "T-1000"})
    done["requested attributes"] = device.request_attributes(client_keys=["model"])
    done["call to the server"] = device.send_rpc("getServerTime")
    heard: queue.Queue[Any] = queue.Queue()
    device.subscribe("attributes", lambda change: heard.put(["attributes", change]))
    device.subscribe("rpc", lambda call: _answer(device, call, heard))
    sys.stdout.write("waiting\n")
    sys.stdout.flush()
    done["heard"] = sorted([heard.get(timeout=PATIENCE_S) for _ in range(2)])
    device.unsubscribe("attributes")
    device.unsubscribe("rpc")
    done["ended"] = _has_ended()
    return done


def _has_ended() -> bool:
    """The class ends a thread when its next answer has come; calls do not come, attributes go on changing."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if sum("subscription_worker" in thread.name for thread in threading.enumerate()) <= 1:
            return True
        time.sleep(0.05)
    return False


def _answer(device: TBHTTPDevice, call: dict[str, Any], heard: "queue.Queue[Any]") -> None:
    device.send_rpc("done", {"of": call["params"]}, rpc_id=call["id"])
    heard.put(["rpc", {"method": call["method"], "params": call["params"]}])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + "\n")
