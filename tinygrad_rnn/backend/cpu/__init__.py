"""What the CPU computes with: its BLAS, its threads, and the environment variables that set both."""
