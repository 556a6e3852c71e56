"""Store and forward: what waits in RAM, what waits on the card, and when one becomes the other."""
