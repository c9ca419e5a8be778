"""The REST API: people and programs ask here about devices, credentials, data and connections.

It turns HTTP and ThingsBoard's JSON into calls of the services and their answers back. It decides only who is
asking (authentication.py) and who may (authorization.py); it never decides who a device is.
"""
