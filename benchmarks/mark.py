"""What an event of a benchmark carries, so that whoever receives it can judge it: whose, which one, due when.

It travels as one string field of the payload, `"mark":"<user>-<number>-<due>"`: index of the user, number of
the event among hers (1, 2, 3 …), and when it was due, in nanoseconds of the machine-wide monotonic clock.
"""

import re

find_marks = re.compile(rb'"mark":"(\d+)-(\d+)-(\d+)"').findall
"""All marks in some bytes, in order: tuples of (user, number, due) as digits."""

MARK_TEMPLATE = b'"mark":"%d-%d-%d"'
"""To be filled with user, number and due; one JSON member, without commas around it."""
