"""The site: docs/, a reference of every public name, the course and a gallery, as pages that need no network.

``make site`` builds it into site/ by Sphinx, with MyST for Markdown and Furo as the theme.  Sphinx reads docstrings of
live objects, of which this package makes many when it is imported, and understands the roles that they use; it reads
Markdown as GitHub does; its search needs no server.  (Generators built on MkDocs do none of these without extensions.)
"""
