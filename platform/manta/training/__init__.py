"""Training of an encoder from an experiment.

`run` is the driver, `loop` the worker of Ray Train, and `step` one optimizer step without Ray.
"""
