"""How it is computed: tiles, memory, kernels, traces."""
