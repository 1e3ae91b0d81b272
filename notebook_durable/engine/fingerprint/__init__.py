"""What a step computes from, as a digest: its code, and its inputs by content (design section 4).

Code:

- ``syntax``, ``normal``: a function's syntax tree, found in its source; written without layout, for every Python alike.
- ``reads``, ``imports``: which globals, attributes, closure values and modules its bytecode reads.
- ``origin``: is this the user's own code, or a library's.
- ``walk``, ``wrappers``, ``classes``, ``reach``: everything of the user's that a function or class reaches.
- ``code``: all this as digests, remembered while nothing is redefined.

Values:

- ``content``, ``kinds``: a value as a digest; ``scalars``, ``libraries``, ``columns``: how each kind is written down.
- ``untracked``: types whose objects have no content; ``seen``: immutable buffers that were digested before.

Both:

- ``describe``, ``call``: one call of a step, described; ``memo``: dicts in which helpers keep results.
- ``shorts``, ``versions``: values in a few words; versions of libraries.
"""
