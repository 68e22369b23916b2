"""The command line: each verb is one public function of the package, its result a table or JSON.

A module per subject holds its verbs and their options; `main` gathers them, `arguments` reads what is typed,
`output` prints, `progress` shows how far long work is. Errors go to stderr with exit status 2 and say what was wrong
and what would be right.
"""
