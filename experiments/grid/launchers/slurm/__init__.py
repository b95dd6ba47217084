"""Cells as tasks of SLURM's job arrays: the script, its submission, and what runs inside the job."""
