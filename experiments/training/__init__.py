"""Training one run: the Lightning module, EMA, checkpoints and the callbacks around them."""
