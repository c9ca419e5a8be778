"""A fleet of believable devices that runs against any server of ThingsBoard's device API.

What a device measures and answers is pure (`sensors`, `behaviour`), as is its side of MQTT and HTTP
(`mqtt_client`, `http_requests`); `link` owns sockets, `fleet` decides who connects when.
"""
