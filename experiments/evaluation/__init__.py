"""Sampling from a trained run and measuring what comes out."""
