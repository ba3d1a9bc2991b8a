"""Sweeps as jobs of a Slurm cluster (hydra/launcher=slurm): what a node has, what is sent, and what becomes of it."""
