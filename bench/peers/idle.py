"""An idle paho script: connected, and asleep."""

import time

from options import connect, options

client = connect(options())
while True:
    time.sleep(60)
