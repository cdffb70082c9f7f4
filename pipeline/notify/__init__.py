"""Messages to people about the nights, and the heartbeat for a service that misses them.

Nothing here changes the result of a night, and all of it together takes ten seconds at most.
"""
