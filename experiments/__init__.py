"""Everything that runs: configuration, training, sampling, evaluation, grids, reports and the command line."""
