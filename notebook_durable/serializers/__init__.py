"""Values as bytes and back: exact JSON, else C pickle, else dill; and the codec that chooses among them.

- ``codec``: chooses a serializer per value and finds the one that wrote a payload.
- ``json``: values that are exactly JSON.
- ``dill``: everything else: C pickle as the fast path, dill where pickle can't.
- ``rules``: what both picklers treat in their own way (functions, classes, exceptions) or refuse (locks, connections).
- ``by_value``: the slow pickler that hands functions and local classes to dill.
- ``exceptions``: exceptions whose constructor pickle can't satisfy.
- ``restore``: what pickles of ours call by name when they are loaded: part of the format.
- ``locate``: finds the part of a value that can't be stored.
- ``names``: a small helper.
"""
