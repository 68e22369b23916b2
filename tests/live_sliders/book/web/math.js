// Stands in for MathJax: the pages of this book hold no formulas.
