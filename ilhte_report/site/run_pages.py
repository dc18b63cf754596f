"""Turning the executed notebooks of a run into pages of the site."""

from __future__ import annotations

from pathlib import Path

from ilhte_lib.manifest import Manifest

from ..project import slug
from ..words.markdown import code_block, escape_markdown
from .downloads import downloads, downloads_section

_PARAMETERS = {"parameters", "injected-parameters"}


REMEDY = "the pages of the run are written there and published: move your own files elsewhere (to data/, say)."


def copy_run_pages(run: Path, folder: Path) -> list[Path]:
    """Copy each notebook of `run` to `folder` as a page, with the files of `downloads`, and remove those of other runs.

    Returns the paths of pages that were edited since they were written and are kept. Raises
    `InputError`, and writes nothing, if the folder contains other files.

    Title and subtitle, plain text in the notebook, are escaped as Markdown. What readers of the site do not
    need is removed: the parameter cells, and local paths in the metadata. A section with the files of
    `downloads` is added. An unchanged page is not written again, so that programs that watch the folder do not react.
    """
    manifest = Manifest.open(folder, REMEDY)
    manifest.refuse_others(REMEDY)
    files = downloads(run)
    for path in sorted((run / "tables").glob("[!.]*.ipynb")):
        offered = downloads_section(path.stem) if f"{path.stem}.json" in files else ""
        files[path.name] = _page(path, offered)
    manifest.keep_only(set(files))
    for name, text in files.items():
        manifest.write_text(name, text)
    return manifest.kept


def _page(path: Path, last_section: str) -> str:
    import nbformat
    import yaml

    from .front_matter import split_front_matter

    notebook = nbformat.read(path, as_version=4)
    front_matter, rest = split_front_matter(notebook.cells[0].source, path.name) if notebook.cells else ({}, "")
    if front_matter:
        notebook.cells[0].source = rest
    words = {"title": path.stem} | {key: value for key, value in front_matter.items() if key in ("title", "subtitle")}
    if words.get("subtitle") == path.stem:
        del words["subtitle"], front_matter["subtitle"]
    if slug(str(words["title"])) != path.stem and path.stem not in str(words["title"]):
        words["title"] = f"{words['title']} ({path.stem})"  # the search looks in titles first
    front_matter |= {key: escape_markdown(str(value)) for key, value in words.items()}
    for cell in notebook.cells:
        # papermill's metadata: Quarto would wrap such a cell, including its headings, in a Div
        for note in ("papermill", "execution"):
            cell.metadata.pop(note, None)
        if not cell.metadata.get("tags"):
            cell.metadata.pop("tags", None)
        if _PARAMETERS & set(cell.metadata.get("tags", [])):
            cell.metadata["tags"] = [*cell.metadata["tags"], "remove-cell"]
    kept = [cell for cell in notebook.cells if cell.source.strip()]
    code = [cell for cell in kept if cell.cell_type == "code" and "tags" not in cell.metadata]
    if code and last_section:
        # the code comes last, so that findings come first, also in the results of a search
        listed = code_block("\n\n".join(cell.source.strip() for cell in code), "python")
        for cell in code:
            cell.source = f"#| echo: false\n{cell.source}"
        last_section += (
            f"\n\n## Code\n\n<details><summary>The notebook behind this page</summary>\n\n{listed}\n\n</details>\n"
        )
    top = nbformat.v4.new_raw_cell(f"---\n{yaml.safe_dump(front_matter, allow_unicode=True)}---", id="front-matter")
    last = [nbformat.v4.new_markdown_cell(last_section, id="last-section")] if last_section else []
    notebook.cells = [top, *kept, *last]
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    return nbformat.writes(notebook) + "\n"
