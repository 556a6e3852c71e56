"""Serial lines for any module: ports by identity, framing, checksums, decoding.

Nothing is imported here, so that a module pays only for what it uses. `framing`, `checksums`, `decoding` and `fields`
are pure: bytes in, frames and readings out. `identity` and `hotplug` look at /sys, /proc and the kernel's events;
`port` opens a device and is the only one that loads pyserial, when it opens it.
"""
