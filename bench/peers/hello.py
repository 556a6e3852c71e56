"""A paho script whose first message names its process, sent as soon as it is connected."""

import os
import time

from options import TOPIC, connect, options

connect(options(), lambda client: client.publish(TOPIC, b"%d " % os.getpid(), qos=1))
while True:
    time.sleep(60)
