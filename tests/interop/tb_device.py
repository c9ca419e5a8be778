"""A device made with ThingsBoard's own library, as a program: `tb_device.py PORT CA_FILE CERT_FILE`.

Prints one JSON object of what each call returned. Run with the library's directory first on the path.
"""

import json
import queue
import sys
import time
from typing import Any

from tb_device_mqtt import TBDeviceMqttClient, TBPublishInfo

PATIENCE_S = 10.0


def main(port: str, ca_file: str, cert_file: str) -> dict[str, Any]:
    client = TBDeviceMqttClient("127.0.0.1", port=int(port))
    client.connect(tls=True, ca_certs=ca_file, cert_file=cert_file)
    deadline = time.monotonic() + PATIENCE_S
    while not client.is_connected() and time.monotonic() < deadline:
        time.sleep(0.05)
    done: dict[str, Any] = {"connected": client.is_connected()}

    def succeeded(info: Any) -> bool:
        return bool(info.get() == TBPublishInfo.TB_ERR_SUCCESS)

    now = client.send_telemetry({"temperature": 41.9, "enabled": False, "version": "v1.2.2"})
    done["telemetry"] = succeeded(now)
    past = client.send_telemetry([{"ts": 1000 + n, "values": {"n": n}} for n in range(100)])
    done["telemetry with time"] = succeeded(past)
    done["attributes"] = succeeded(client.send_attributes({"model": "T-1000"}))
    done["claim"] = succeeded(client.claim("s3cret", duration=60_000))
    answers: queue.Queue[Any] = queue.Queue()
    client.request_attributes(
        client_keys=["model"], callback=lambda answer, error: answers.put((answer, error))
    )
    done["requested attributes"] = answers.get(timeout=PATIENCE_S)
    client.disconnect()
    client.stop()
    return done


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + "\n")
