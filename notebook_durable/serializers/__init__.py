"""Values as bytes and back: exact JSON, else C pickle, else dill; and the codec that chooses among them.

- ``codec``: chooses a serializer per value and finds the one that wrote a payload.
- ``json``: values that are exactly JSON.
- ``dill``: everything else: C pickle as the fast path, dill where pickle can't.
- ``portable``: frames as Parquet or Arrow files, if they come back as they were; ``same_frame`` judges that.
- ``envelope``: what stands around a pickle, and whose memory its buffers become: part of the format.
- ``sink``: the file that picklers write to, which keeps large parts out of the pickle.
- ``rules``: what both picklers treat in their own way (functions, classes, exceptions) or refuse (locks, connections).
- ``arrays``: rules for numpy's arrays.
- ``by_value``: the slow pickler that hands functions and local classes to dill.
- ``exceptions``: exceptions whose constructor pickle can't satisfy.
- ``restore``: what pickles of ours call by name when they are loaded: part of the format.
- ``libraries``: the versions of the libraries that a value needs.
- ``collector``: the garbage collector while a large value is loaded.
- ``locate``: finds the part of a value that can't be stored.
- ``names``: a small helper.
"""
