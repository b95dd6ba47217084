"""What brings a study's cells to processors."""
