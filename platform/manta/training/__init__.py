"""From an experiment to a trained encoder: step (no Ray), loop (the Ray Train worker), run (the
driver)."""
