"""Run `manta embed` as a Ray job, with the same arguments.

ray job submit --working-dir . -- python jobs/embed.py MODEL --data SOURCE --out OUT.parquet
"""

import sys

from manta.cli import main

if __name__ == "__main__":
    sys.argv = ["manta", "embed", *sys.argv[1:]]
    main()
