"""What the operator and the module authors wrote: `microedge.toml`, `module.toml`, and which instances follow."""
