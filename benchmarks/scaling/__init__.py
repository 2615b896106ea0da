"""What a fleet of any size needs: unit costs measured on real servers, and a model of them.

Servers are started as the tests start them, and loaded as ``benchmarks/relay`` loads them.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path += [str(ROOT / "tests"), str(ROOT / "benchmarks" / "relay")]
