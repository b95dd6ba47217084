"""Pair sets from trained runs, for reflow: which pairs, how a shard of them is made, and several processes at it."""
