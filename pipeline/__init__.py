"""What more than one script of the pipeline needs, and nothing else."""
