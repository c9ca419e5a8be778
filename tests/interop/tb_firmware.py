"""A device that updates itself with ThingsBoard's library: `tb_firmware.py PORT CA_FILE CERT_FILE CHUNK`.

Prints one JSON object of what the library gave it. Run with the library's directory first on the path.
"""

import hashlib
import json
import queue
import sys
import time
from typing import Any

from tb_device_mqtt import TBDeviceMqttClient, TBFirmwareState

PATIENCE_S = 60.0


def main(port: str, ca_file: str, cert_file: str, chunk_size: str) -> dict[str, Any]:
    client = TBDeviceMqttClient("127.0.0.1", port=int(port), chunk_size=int(chunk_size))
    received: queue.Queue[tuple[bytes, str]] = queue.Queue()
    client.set_on_firmware_received_callback(lambda _client, data, version: received.put((data, version)))
    client.connect(tls=True, ca_certs=ca_file, cert_file=cert_file)
    deadline = time.monotonic() + PATIENCE_S
    while not client.is_connected() and time.monotonic() < deadline:
        time.sleep(0.05)
    client.get_firmware_update()
    data, version = received.get(timeout=PATIENCE_S)
    title = client.firmware_info["fw_title"]
    client.update_firmware_info(title, version, TBFirmwareState.UPDATED)
    time.sleep(0.5)  # the library says nothing about when it is sent
    client.disconnect()
    client.stop()
    return {"title": title, "version": version, "sha256": hashlib.sha256(data).hexdigest()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + "\n")
