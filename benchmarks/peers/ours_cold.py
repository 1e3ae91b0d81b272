"""notebook_durable as in ``ours.py``, with the imports that happen when the first run is opened."""

from ours import main

if __name__ == "__main__":
    main(warm=False)
