"""Where a run's numbers and pictures go while it trains."""
