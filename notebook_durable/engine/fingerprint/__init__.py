"""What a step computes from, as a digest: its code, and its inputs by content (design section 4).

- ``syntax``: a function's normalised syntax tree, found in its source file.
- ``reads``: which globals, attributes and closure values its bytecode reads.
- ``origin``: is this the user's own code, or a library's.
- ``code``: functions and classes, with everything of the user's that they reach.
- ``content``: values.
- ``describe``: a step's parts together.
"""
