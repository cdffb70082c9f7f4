"""One injector for all faults: the n-th call, message or response fails, for n = 1, 2, 3 …"""
