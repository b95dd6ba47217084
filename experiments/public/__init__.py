"""Public checkpoints: files read without running what they name, runs made of them, runs written for others' code."""
