"""What a module imports. Small on purpose: a Pi Zero runs ten of it."""
