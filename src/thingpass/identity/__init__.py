"""Who a connection's peer is: allowed as a device, or refused for a named reason.

The middle (`decide`) is pure and total: it gets the evidence, what CONNECT said, the rows found and the time.
`authentication` fetches the rows before it and records refusals after it. Nothing else in the house decides
who somebody is.
"""
