"""How a run is driven: strategy, train loop, checkpoints, config check. The only place that imports DeepSpeed, and, in
one module, XTuner."""
