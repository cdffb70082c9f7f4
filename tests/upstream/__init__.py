"""Simulated publishers of this project with small slices of data, and faults to switch on.

There is one module per protocol. Each has a class of request handlers, which are correct and strict
about requests; `register(publisher, path)` puts one on a publisher. Attributes switch on the faults
of a protocol, such as rows repeated between pages. The faults of HTTP are in `faults`.
"""
