"""The executed notebooks of a run, made pages of the site."""

from __future__ import annotations

from pathlib import Path

from ilhte_lib.manifest import Manifest

from ..project import slug
from ..words.markdown import code_block, escape_markdown
from .downloads import downloads, downloads_section

_PARAMETERS = {"parameters", "injected-parameters"}


REMEDY = "the pages of the run are written there and published: move what is yours elsewhere (data/, say)."


def copy_run_pages(run: Path, folder: Path) -> list[Path]:
    """Copies each notebook of `run` into `folder` as a page, with the files of `downloads`, and removes those of other runs.

    Returns the paths of pages that were edited since they were written, and are kept under that name. Raises
    `InputError`, and writes nothing, if the folder holds files of somebody else.

    Title and subtitle, plain text in the notebook, become Markdown that shows just that. What a reader of the site has
    no use for is taken out: the parameter cells, and the machine's paths in the metadata. A section with the files of
    `downloads` is added. An unchanged page is not written again, so that nothing that watches the folder starts anew.
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
        # papermill's notes; Quarto would wrap a cell with such metadata in a Div, its headings with it
        for note in ("papermill", "execution"):
            cell.metadata.pop(note, None)
        if not cell.metadata.get("tags"):
            cell.metadata.pop("tags", None)
        if _PARAMETERS & set(cell.metadata.get("tags", [])):
            cell.metadata["tags"] = [*cell.metadata["tags"], "remove-cell"]
    kept = [cell for cell in notebook.cells if cell.source.strip()]
    code = [cell for cell in kept if cell.cell_type == "code" and "tags" not in cell.metadata]
    if code and last_section:
        # findings first, also in what the search shows of a page: the code stands at the end
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
