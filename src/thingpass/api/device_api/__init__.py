"""The HTTP device API, `/api/v1/...`: what devices send and ask without MQTT (device API reference, 6)."""
