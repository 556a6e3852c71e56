"""Upstream connectors: the classes that speak the protocol of whatever is above the device."""
