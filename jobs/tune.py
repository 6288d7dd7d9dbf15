"""Run `manta tune` as a Ray job, with the same arguments.

On a cluster give `--runs s3://...` and `study.storage=postgresql://...`.

    ray job submit --working-dir . -- \\
      python jobs/tune.py SPACE --recipe RECIPE --name NAME [a.b=c ...]
"""

import sys

from manta.cli import main

if __name__ == "__main__":
    sys.argv = ["manta", "tune", *sys.argv[1:]]
    main()
