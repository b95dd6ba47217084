"""Grids: what is varied, the plan of its cells, and how they are run. A study is a grid's folder."""
