"""Sweeps as jobs of a Slurm cluster: what a node has, what is submitted, and what becomes of it (hydra/launcher=slurm)."""
