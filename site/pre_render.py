"""What Quarto calls before it renders: computes and copies what is missing."""

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)

try:
    from ilhte_lib.errors import IlhteError
    from ilhte_report.site.render import prepare_site

    prepare_site(PROJECT)
except ImportError as error:
    sys.exit(
        f"{error} in {sys.executable}. Quarto needs the Python that ilhte[report] is installed in: "
        "activate its environment or set QUARTO_PYTHON to its interpreter."
    )
except IlhteError as error:
    sys.exit(str(error))
