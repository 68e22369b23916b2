"""Jupyter Book adds thebe's scripts twice to every page, which is a script error; this book has no use for them."""


def drop(app, pagename, templatename, context, doctree):
    """Take thebe's scripts off the page."""
    kept = [file for file in context["script_files"] if "thebe" not in f"{file.filename} {file.attributes}".lower()]
    context["script_files"][:] = kept


def setup(app):
    """Register with Sphinx."""
    app.connect("html-page-context", drop, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
