#!/usr/bin/env python3
"""A device that proves itself with its certificate: mutual TLS, then MQTT, with paho-mqtt 2.

It listens on its three topics, asks for its attributes and sends telemetry, as ThingsBoard's sample of the
same name does. Needs `pip install paho-mqtt`; `python two-way-ssl-mqtt-client.py --help` lists the options.
"""

from __future__ import annotations

import argparse
import json
import random
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

TOPICS = ("v1/devices/me/attributes", "v1/devices/me/attributes/response/+", "v1/devices/me/rpc/request/+")
ATTRIBUTE_REQUEST = "v1/devices/me/attributes/request/1"
TELEMETRY = "v1/devices/me/telemetry"
VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}
PATIENCE_S = 15.0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A device that proves itself with its certificate.")
    parser.add_argument("--host", default="localhost", help="the server's name (default: %(default)s)")
    parser.add_argument("--port", default=8883, type=int, help="its MQTT over TLS (default: %(default)s)")
    parser.add_argument(
        "--ca-certs",
        default="mqttserver.pub.pem",
        help="the server's certificate, or its issuer's (default: %(default)s)",
    )
    parser.add_argument(
        "--certfile",
        default="mqttclient.nopass.pem",
        help="the device's key and certificate in one file (default: %(default)s)",
    )
    parser.add_argument(
        "--mqtt", default="3.1.1", choices=VERSIONS, help="the version (default: %(default)s)"
    )
    parser.add_argument("--interval", default=5.0, type=float, help="seconds between messages (default: 5)")
    parser.add_argument("--count", default=0, type=int, help="stop after so many messages (default: never)")
    parser.add_argument("--once", action="store_const", const=1, dest="count", help="the same as --count 1")
    return parser.parse_args()


def make_client(options: argparse.Namespace) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=VERSIONS[options.mqtt])
    for path in (options.ca_certs, options.certfile):
        if not Path(path).is_file():
            raise SystemExit(f"There is no file {path} here. `thingpass keygen` makes it.")
    # The certificate is the device's whole identity: no user name, no password, no client id.
    client.tls_set(ca_certs=options.ca_certs, certfile=options.certfile, cert_reqs=ssl.CERT_REQUIRED)
    return client


def connect(client: mqtt.Client, options: argparse.Namespace) -> None:
    """Connects and waits for the server's answer; ends the program with one clear line if it says no."""
    answered = threading.Event()
    refusals: list[str] = []

    def on_connect(client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, properties: Any) -> None:
        print(f"Connected with result code {reason.value}", flush=True)
        if reason.is_failure:
            # MQTT 5 has room for the cause; the older versions have a number and no more.
            refusals.append((getattr(properties, "ReasonString", None) or str(reason)).rstrip("."))
        else:
            # Asked for in here, so that it is asked for again after every reconnect.
            client.subscribe([(topic, 1) for topic in TOPICS])
        answered.set()

    client.on_connect = on_connect
    try:
        client.connect(options.host, options.port, keepalive=60)
    except ssl.SSLCertVerificationError as error:
        raise SystemExit(
            f"{options.ca_certs} does not vouch for this server: {error.verify_message}."
        ) from None
    except OSError as error:
        raise SystemExit(f"Cannot reach {options.host}:{options.port}: {error}.") from None
    client.loop_start()
    if not answered.wait(PATIENCE_S):
        raise SystemExit(f"{options.host}:{options.port} did not answer within {PATIENCE_S:g} s.")
    if refusals:
        client.loop_stop()
        raise SystemExit(
            f"Refused: {refusals[0]}.\n"
            "On the server, `thingpass connections --refused` says why and how to mend it."
        )


def main() -> None:
    options = read_options()
    client = make_client(options)
    subscribed, answered = threading.Event(), threading.Event()

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        print(f"Topic: {message.topic}\nMessage: {message.payload.decode()}", flush=True)
        if message.topic.startswith("v1/devices/me/attributes/response/"):
            answered.set()

    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    connect(client, options)
    try:
        if not subscribed.wait(PATIENCE_S):
            raise SystemExit("The server did not confirm the subscriptions.")
        client.publish(ATTRIBUTE_REQUEST, json.dumps({"clientKeys": "model"}), qos=1)
        if not answered.wait(PATIENCE_S):
            raise SystemExit("The server did not answer the request for attributes.")
        sent = 0
        while True:
            values = {"temperature": round(random.uniform(20, 25), 1), "humidity": random.randint(35, 55)}
            # QoS 1: the acknowledgement means that the values are stored.
            sending = client.publish(TELEMETRY, json.dumps(values), qos=1)
            sending.wait_for_publish(PATIENCE_S)
            if not sending.is_published():
                raise SystemExit("The server did not acknowledge the telemetry.")
            print(f"Topic: {TELEMETRY}\nMessage: {json.dumps(values)}", flush=True)
            sent += 1
            if sent == options.count:
                break
            threading.Event().wait(options.interval)
    except KeyboardInterrupt:
        pass
    except RuntimeError as error:
        sys.exit(f"Lost the connection: {error}")
    finally:
        client.disconnect()
        client.loop_stop()


if __name__ == "__main__":
    main()
