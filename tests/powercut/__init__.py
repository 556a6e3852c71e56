"""Power cuts and failing disks, in thousands: nothing that the queue or a twin has promised may be lost by one.

vfs.py, recorder.py     every write, sync and change of a name, in order, as SQLite and Python make them
disk.py                 what a power cut may leave of it, by five fault models
device.py, twin.py      devices that work, and what is found on one after a cut
promises.py, lives.py   what had been promised by the moment of the cut, and each cut of one life
faults.py               EIO and ENOSPC at the n-th operation
cuts.py                 real cuts: ext4 on a loop device, shut down under a running process (root only)
weaker.py               the product with a precaution taken away: the harness has to notice
campaign.py             the long form, `make powercut`
"""
