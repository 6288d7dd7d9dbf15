"""Search spaces: from YAML to distributions."""
