"""Serial lines for any module: ports by identity, framing, checksums, decoding."""
