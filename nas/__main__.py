"""`python -m nas` is the `nas` command."""

import sys

from nas.commands.cli import main

sys.exit(main())
