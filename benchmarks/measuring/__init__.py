"""What the benchmarks measure with; `make bench` runs the scripts beside this folder."""
