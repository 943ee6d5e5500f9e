"""The local site that the demo and the tests read target, on loopback, obviously not X.

It shares test ids, labels and JSON field names with the real thing, so that the same reader reads both, and nothing
else. Its counters are a closed form of a seed, a post and an age: any instant can be asked for, in any order.
"""
