"""Publishers of this project, spoken from small honest slices, with faults to switch on.

One module a protocol. Each has a class whose objects are handlers of requests, honest and strict
about what they are asked; `register(publisher, path)` puts one on a publisher. Faults that belong
to a protocol, such as rows repeated between pages, are switched on by its attributes; those that
belong to HTTP are in `faults`, for the answers of any.
"""
