"""The layers that the backbones share, one idea per file."""
