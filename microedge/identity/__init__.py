"""Who the device and its modules are: generation ids, keys, and the tokens that are signed with them."""
