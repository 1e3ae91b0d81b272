"""DBOS on SQLite, with the database's file switched to WAL beforehand (DBOS leaves the journal mode as it is)."""

from dbos_sqlite import main

if __name__ == "__main__":
    main("WAL")
