"""What parts, and later nodes, tell each other: messages with a subject, and requests with an answer.

The bus carries facts that happened ("the credentials of this device changed"), never commands to a known
part, and never telemetry that nobody watches. It keeps nothing: who was not subscribed missed it.
"""
