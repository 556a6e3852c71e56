"""Processes, sockets and timers, and the one place that wires everything together."""
