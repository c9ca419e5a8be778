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
    client.send_rpc_call("getCurrentTime", {}, lambda _id, answer, error: answers.put((answer, error)))
    now_ms, error = answers.get(timeout=PATIENCE_S)
    done["current time"] = abs(now_ms / 1000 - time.time()) < 60 and error is None
    done["limits received"] = wait_for(lambda: client.rate_limits_received)
    client.request_service_configuration(lambda _id, answer, error: answers.put((answer, error)))
    limits, error = answers.get(timeout=PATIENCE_S)
    done["limits"] = [sorted(limits), error]
    hear_from_the_server(client, done)
    client.disconnect()
    client.stop()
    return done


def wait_for(condition: Any) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def hear_from_the_server(client: TBDeviceMqttClient, done: dict[str, Any]) -> None:
    """Waits for what the test sends once it has read `listening`: a call and a change of each attribute."""
    calls: queue.Queue[Any] = queue.Queue()
    one: queue.Queue[Any] = queue.Queue()
    every: queue.Queue[Any] = queue.Queue()

    def called(client: TBDeviceMqttClient, request_id: str, body: Any) -> None:
        client.send_rpc_reply(request_id, {"doubled": body["params"]["n"] * 2})
        calls.put((request_id, body))

    client.set_server_side_rpc_request_handler(lambda request_id, body: called(client, request_id, body))
    forgotten = client.subscribe_to_attribute("interval", lambda answer, *_: one.put("forgotten"))
    client.unsubscribe_from_attribute(forgotten)
    client.subscribe_to_attribute("interval", lambda answer, *_: one.put(answer))
    client.subscribe_to_all_attributes(lambda answer, *_: every.put(answer))
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    done["interval"] = one.get(timeout=PATIENCE_S)
    done["attributes"] = [done["attributes"], every.get(timeout=PATIENCE_S), every.get(timeout=PATIENCE_S)]
    request_id, body = calls.get(timeout=PATIENCE_S)
    done["called"] = [isinstance(request_id, str), body]
    client.request_attributes(
        shared_keys=["interval"], callback=lambda answer, error: one.put((answer, error))
    )
    done["shared"] = one.get(timeout=PATIENCE_S)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + "\n")
