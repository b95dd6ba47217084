"""Five plugins for fewstep, one in each file."""
