"""A script that has gone wrong: it prints without end."""

line = "the same complaint again and again, " * 2
while True:
    print(line)
