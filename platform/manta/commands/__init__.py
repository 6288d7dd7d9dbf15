"""Commands of the command line, one file per subject; `manta.cli` runs them."""
