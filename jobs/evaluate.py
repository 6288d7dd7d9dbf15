"""Run `manta evaluate` as a Ray job, with the same arguments.

ray job submit --working-dir . -- python jobs/evaluate.py RUN_OR_MODEL --data SOURCE
"""

import sys

from manta.cli import main

if __name__ == "__main__":
    sys.argv = ["manta", "evaluate", *sys.argv[1:]]
    main()
