"""Where facts are kept: the interface that all rooms talk to, and the databases behind it.

Nothing above this room knows SQL or a driver.
"""
