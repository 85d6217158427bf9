"""The CPU: its BLAS, its threads, and the environment variables that set both."""
