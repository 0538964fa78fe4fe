"""The sum over stars below θ: compiled kernel, layout, dask workers."""
