"""Things to look at and to move in a notebook, a file each.

Every widget is a plain function of plain values that makes what is shown; a `…_widget`, which calls it whenever a control
moves and needs a live Jupyter; and a `…_view`, the same at rest, which stays in the saved notebook.
"""

from minirag.teaching.widgets.articles import ArticleView, article_html, browse
from minirag.teaching.widgets.cells import cells_view, cells_widget
from minirag.teaching.widgets.explorer import Shelf, explorer_view, explorer_widget
from minirag.teaching.widgets.heatmap import heatmap_view, heatmap_widget
from minirag.teaching.widgets.marginalisation import marginalisation_view, marginalisation_widget
from minirag.teaching.widgets.tree import tree_view, tree_widget

__all__ = [
    "ArticleView",
    "Shelf",
    "article_html",
    "browse",
    "cells_view",
    "cells_widget",
    "explorer_view",
    "explorer_widget",
    "heatmap_view",
    "heatmap_widget",
    "marginalisation_view",
    "marginalisation_widget",
    "tree_view",
    "tree_widget",
]
