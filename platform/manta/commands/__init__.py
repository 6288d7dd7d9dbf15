"""The commands, one file a subject; `manta.cli` runs them."""
