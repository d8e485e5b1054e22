"""What ships beside the weights."""

import re
from importlib.resources import files
from pathlib import Path


def test_no_shipped_file_names_a_folder_of_the_machine_that_made_it() -> None:
    folder = Path(str(files("prefbench.bench.miniature")))
    texts = [path for path in folder.rglob("*") if path.suffix in (".json", ".md", ".log", ".txt")]
    assert len(texts) > 10
    for path in texts:
        assert not re.search(r'"/\w+/|(^|\s)/(tmp|home|root|work)/', path.read_text(encoding="utf-8")), path
