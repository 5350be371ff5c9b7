"""python -m hayloft_ray"""

import sys

from hayloft_ray.command_line import main

sys.exit(main())
