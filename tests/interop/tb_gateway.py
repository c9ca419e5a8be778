"""A gateway made with ThingsBoard's own library, as a program: `tb_gateway.py PORT CA_FILE CERT_FILE A B`.

A and B are names of devices behind it. Says `listening` when it waits for what the server sends; prints one
JSON object of what each call returned. Run with the library's directory first on the path.
"""

import json
import queue
import sys
import time
from collections.abc import Callable
from typing import Any

from tb_device_mqtt import TBPublishInfo
from tb_gateway_mqtt import TBGatewayMqttClient

PATIENCE_S = 20.0


def main(port: str, ca_file: str, cert_file: str, one: str, other: str) -> dict[str, Any]:
    gateway = TBGatewayMqttClient("127.0.0.1", port=int(port))
    gateway.connect(tls=True, ca_certs=ca_file, cert_file=cert_file)
    done: dict[str, Any] = {
        "connected": wait_for(gateway.is_connected),
        "subscribed": wait_for(lambda: not gateway.get_subscriptions_in_progress()),
        "limits received": wait_for(lambda: gateway.rate_limits_received),
    }

    def succeeded(info: Any) -> bool:
        return bool(info.get() == TBPublishInfo.TB_ERR_SUCCESS)

    done["connect device"] = [
        succeeded(gateway.gw_connect_device(one, "thermometer")),
        succeeded(gateway.gw_connect_device(other)),
    ]
    done["telemetry"] = [
        succeeded(gateway.gw_send_telemetry(one, {"t": 21.5})),
        succeeded(gateway.gw_send_telemetry(one, [{"ts": 1000 + n, "values": {"n": n}} for n in range(10)])),
        succeeded(gateway.gw_send_telemetry(other, {"t": 1}, quality_of_service=0)),
    ]
    done["attributes"] = succeeded(gateway.gw_send_attributes(one, {"model": "T-1000", "port": 7}))

    answers: queue.Queue[Any] = queue.Queue()
    for keys in (["model"], ["model", "port"], ["nothing"]):
        gateway.gw_request_client_attributes(one, keys, lambda answer, error: answers.put((answer, error)))
        answer, error = answers.get(timeout=PATIENCE_S)
        answer.pop("id")
        done[f"client {','.join(keys)}"] = [answer, error]

    heard: dict[str, queue.Queue[Any]] = {name: queue.Queue() for name in ("all", "device", "key", "lost")}
    gateway.gw_subscribe_to_all_attributes(heard["all"].put)
    gateway.gw_subscribe_to_all_device_attributes(one, heard["device"].put)
    number = gateway.gw_subscribe_to_attribute(one, "interval", heard["key"].put)
    calls: queue.Queue[Any] = queue.Queue()

    def on_call(client: TBGatewayMqttClient, content: Any) -> None:
        calls.put({"device": content["device"], "data": dict(content["data"], id=0)})
        doubled = 2 * content["data"]["params"]["n"]
        client.gw_send_rpc_reply(content["device"], content["data"]["id"], {"doubled": doubled})

    gateway.gw_set_server_side_rpc_request_handler(on_call)
    gateway.device_disconnect_callback = lambda _, content: heard["lost"].put(content)

    sys.stdout.write("listening\n")
    sys.stdout.flush()
    done["pushed"] = [heard[name].get(timeout=PATIENCE_S) for name in ("all", "device", "key")]
    done["removed"] = heard["all"].get(timeout=PATIENCE_S)
    done["called"] = calls.get(timeout=PATIENCE_S)
    done["lost"] = heard["lost"].get(timeout=PATIENCE_S)

    gateway.gw_request_shared_attributes(
        one, ["interval"], lambda answer, error: answers.put((answer, error))
    )
    answer, error = answers.get(timeout=PATIENCE_S)
    answer.pop("id")
    done["shared"] = [answer, error]
    gateway.gw_unsubscribe(number)
    gateway.gw_unsubscribe("*")
    done["claim"] = succeeded(gateway.gw_claim(one, "s3cret", 60_000))
    done["own telemetry"] = succeeded(gateway.send_telemetry({"uptime": 1}))
    done["disconnect device"] = succeeded(gateway.gw_disconnect_device(one))
    gateway.disconnect()
    gateway.stop()
    return done


def wait_for(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_so()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + "\n")
