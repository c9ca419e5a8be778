"""The registry: tenants, users, devices and what devices prove themselves with.

Services that change rows, with ThingsBoard's rules and messages; whoever must hear of a change hears of it on
the bus, after the store has it. Nothing here decides who may call them, or who a connection is.
"""
