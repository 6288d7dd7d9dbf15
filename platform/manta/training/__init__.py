"""From an experiment to a trained encoder.

`run` drives from outside, `loop` is the worker of Ray Train, `step` is one optimizer step without
Ray.
"""
