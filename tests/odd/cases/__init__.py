"""The odd corpus, a file for each topic."""
